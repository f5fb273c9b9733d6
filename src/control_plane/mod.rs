//! The fold: events → catalog → routing table, and the single writer that appends to the control log.
//!
//! [`ControlPlane`] takes a command through one road whoever asks: decide, append, apply, compile, publish. It never
//! counts and never talks HTTP. Files, the command line, timers and guardrails call it.

pub mod catalog;
pub mod compile;
pub mod decide;
pub mod done;
mod submission;

pub use submission::{RefusedCommand, SubmitAllError, SubmitError, Submitted};

use crate::{
    clock::Clock,
    domain::{
        Timestamp,
        command::{Command, Origin},
        event::{Event, Recorded},
        experiment::Experiment,
        id::{Environment, PromptName, Revision},
    },
    routing::live::LiveTable,
    store::{ControlLog, error::StoreError},
};
use arc_swap::ArcSwap;
use catalog::{Catalog, Touched};
use compile::{Unroutable, compile};
use decide::decide;
use parking_lot::Mutex;
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};
use submission::{Halted, new_request, permitted, replayed};
use tokio::sync::broadcast;

/// Events a slow listener may lag behind before it misses some.
const EVENT_BACKLOG: usize = 1024;
/// Entries read from the log at a time.
const READ_CHUNK: usize = 10_000;

/// What is published after every change.
#[derive(Debug)]
pub struct View {
    /// The catalog in force.
    pub catalog: Catalog,
    /// Live experiments that take no part in decisions, and why.
    pub unroutable: Unroutable,
    /// Freezes and rollbacks that are in force here but could not be written yet.
    pub unrecorded: usize,
}

/// Is told of every view before its table is swapped in, so that outcomes of its decisions are understood.
pub type Subscriber = Box<dyn Fn(&View) + Send + Sync>;

/// Says how the results of an experiment are at the moment it ends; none when nobody can.
pub type Witness = Box<dyn Fn(&Experiment, Revision, Timestamp) -> Option<serde_json::Value> + Send + Sync>;
struct Writer {
    log: Box<dyn ControlLog>,
    /// Folded from the log alone.
    recorded: Catalog,
    /// Freezes and rollbacks that the store did not take; they hold here at once and are appended when it is back.
    /// With the moment they came into force at, which is the one that is written.
    unrecorded: Vec<(Origin, Command, Timestamp)>,
    subscribers: Vec<Subscriber>,
    /// Asked for the results of whatever ends, so that the log keeps them as they were.
    witness: Option<Witness>,
}

/// The single writer of the control log and the publisher of the routing table.
pub struct ControlPlane {
    writer: Mutex<Writer>,
    view: ArcSwap<View>,
    table: Arc<LiveTable>,
    environment: Environment,
    clock: Clock,
    events: broadcast::Sender<Arc<Recorded>>,
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlPlane")
            .field("revision", &self.view().catalog.revision)
            .finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Folds the log and publishes the first table.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot be read.
    pub fn open(
        log: Box<dyn ControlLog>,
        table: Arc<LiveTable>,
        environment: Environment,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let mut recorded = Catalog::default();
        loop {
            let entries = log.read(recorded.revision, READ_CHUNK)?;
            if entries.is_empty() {
                break;
            }
            entries.iter().for_each(|entry| recorded.apply(entry));
        }
        let view = View {
            catalog: Catalog::default(),
            unroutable: Unroutable::new(),
            unrecorded: 0,
        };
        let plane = Self {
            writer: Mutex::new(Writer {
                log,
                recorded,
                unrecorded: Vec::new(),
                subscribers: Vec::new(),
                witness: None,
            }),
            view: ArcSwap::from_pointee(view),
            table,
            environment,
            clock,
            events: broadcast::Sender::new(EVENT_BACKLOG),
        };
        plane.publish(&plane.writer.lock(), None);
        Ok(plane)
    }

    /// Adds a subscriber and tells it the present view.
    pub fn subscribe(&self, subscriber: Subscriber) {
        let mut writer = self.writer.lock();
        subscriber(&self.view());
        writer.subscribers.push(subscriber);
    }

    /// Has the results of every experiment that ends from now on written down with its end.
    pub fn witness_ends(&self, witness: Witness) {
        self.writer.lock().witness = Some(witness);
    }

    /// The catalog in force and what is wrong with it.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Every event from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.events.subscribe()
    }

    /// Up to `limit` entries of the log after a revision.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot be read.
    pub fn history(&self, after: Revision, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.writer.lock().log.read(after, limit)
    }

    /// Decides, appends, applies, compiles and publishes one command. Blocks on the store.
    ///
    /// A freeze or a rollback takes effect even when the store is down: it holds in this process at once and is written
    /// later.
    ///
    /// # Errors
    /// [`SubmitError`]: refused, or not written.
    pub fn submit(&self, origin: Origin, command: Command) -> Result<Submitted, SubmitError> {
        self.submit_based_on(origin, command, None)
    }

    /// The same, unless the command's experiment has changed since a revision. A request that was done before under
    /// its idempotency key does nothing, and answers what it did then.
    ///
    /// # Errors
    /// [`SubmitError`]: refused, based on an older revision, a key of another request, or not written.
    pub fn submit_based_on(
        &self,
        origin: Origin,
        command: Command,
        revision: Option<Revision>,
    ) -> Result<Submitted, SubmitError> {
        let mut writer = self.writer.lock();
        let check = {
            let (origin, command, now) = (origin.clone(), command.clone(), self.clock.now());
            move |catalog: &Catalog| permitted(catalog, &origin, &command, revision, now)
        };
        let appended = if command.is_urgent() {
            check(&self.view().catalog).and_then(|()| {
                self.put_in_force(&mut writer, origin, command)
                    .map_err(Halted::Refused)
            })
        } else {
            self.catch_up(&mut writer);
            let commands = [(origin, command)];
            self.append(&mut writer, |catalog| {
                check(catalog)?;
                Ok(Cow::Borrowed(&commands[..]))
            })
        };
        match appended {
            Ok(submitted) => Ok(submitted),
            Err(Halted::Done(done)) => Ok(replayed(&*writer.log, &done)?),
            Err(Halted::Refused(error)) => Err(error),
            Err(Halted::Failed(SubmitAllError::Rejected(mut refused))) => match refused.pop() {
                Some(refused) => Err(refused.rejection.into()),
                None => Ok(Submitted::now(writer.recorded.revision, Vec::new())),
            },
            Err(Halted::Failed(SubmitAllError::Store(error))) => Err(error.into()),
        }
    }

    /// Whether something was done before under the idempotency key of an origin.
    #[must_use]
    pub fn knows(&self, origin: &Origin) -> bool {
        let key = origin.idempotency.as_ref().map(|idempotency| &idempotency.key);
        key.is_some_and(|key| {
            let view = self.view();
            view.catalog
                .done
                .find(&origin.actor, key, self.clock.now())
                .is_some()
        })
    }

    /// Puts a command in force first and writes it afterwards: users must not wait for a disk.
    fn put_in_force(
        &self,
        writer: &mut Writer,
        origin: Origin,
        command: Command,
    ) -> Result<Submitted, SubmitError> {
        let catalog = &self.view().catalog;
        let now = self.clock.now();
        let events = decide(catalog, &command, now)?;
        let touched = touched(catalog, &events);
        writer.unrecorded.push((origin, command, now));
        self.publish(writer, touched);
        let written = self.catch_up(writer);
        let events = written
            .into_iter()
            .filter(|entry| events.contains(&entry.event))
            .collect();
        Ok(Submitted::now(writer.recorded.revision, events))
    }

    /// The same for a set of commands, all or nothing, in one transaction. A command that only becomes possible
    /// after a later one of the set is tried again after it.
    ///
    /// # Errors
    /// [`SubmitAllError`]: every refused command, or the store's failure. Nothing was done.
    pub fn submit_all(&self, commands: &[(Origin, Command)]) -> Result<Submitted, SubmitAllError> {
        let mut writer = self.writer.lock();
        self.catch_up(&mut writer);
        self.append(&mut writer, |_| Ok(Cow::Borrowed(commands)))
    }

    /// The commands of one request, all or nothing, in one transaction and once under its idempotency key. They are made
    /// from the catalog they will be decided on, so nothing comes in between; `commands` may refuse to, and may be asked
    /// again when another process was faster. Not for what is in force before it is written.
    ///
    /// # Errors
    /// What `commands` gives, [`SubmitAllError`], and [`SubmitError`] for a key of another request.
    pub fn submit_request<E: From<SubmitError> + From<SubmitAllError>>(
        &self,
        origin: &Origin,
        commands: impl Fn(&Catalog) -> Result<Vec<Command>, E>,
    ) -> Result<Submitted, E> {
        let mut writer = self.writer.lock();
        self.catch_up(&mut writer);
        let now = self.clock.now();
        let appended = self.append(&mut writer, |catalog| {
            new_request(catalog, origin, now)?;
            let commands = commands(catalog).map_err(Halted::Failed)?;
            let commands = commands.into_iter().map(|command| (origin.clone(), command));
            Ok(Cow::Owned(commands.collect()))
        });
        appended.or_else(|halted| match halted {
            Halted::Done(done) => {
                replayed(&*writer.log, &done).map_err(|error| SubmitError::from(error).into())
            }
            Halted::Refused(error) => Err(error.into()),
            Halted::Failed(error) => Err(error),
        })
    }

    /// Writes freezes that the store did not take before.
    pub fn retry_unrecorded(&self) {
        let mut writer = self.writer.lock();
        self.catch_up(&mut writer);
    }

    /// Writes what is in force but not written yet, and tells what it wrote.
    fn catch_up(&self, writer: &mut Writer) -> Vec<Arc<Recorded>> {
        let mut written = Vec::new();
        while let Some((origin, command, since)) = writer.unrecorded.first().cloned() {
            let commands = [(origin, command)];
            match self.append_quietly(writer, since, |_| Ok(Cow::Borrowed(&commands[..]))) {
                Ok((submitted, touched)) => {
                    writer.unrecorded.remove(0);
                    written.extend(submitted.events);
                    self.publish(writer, touched);
                }
                // The log has overtaken it: stopped meanwhile, or frozen already.
                Err(SubmitAllError::Rejected(_)) => {
                    writer.unrecorded.remove(0);
                    self.publish(writer, None);
                }
                Err(SubmitAllError::Store(error)) => {
                    tracing::error!(%error, "a freeze or a rollback could not be written; it holds here and is retried");
                    return written;
                }
            }
        }
        written
    }

    /// Appends what `commands` makes of the catalog it is decided on.
    fn append<'c, E: From<SubmitAllError>>(
        &self,
        writer: &mut Writer,
        commands: impl Fn(&Catalog) -> Result<Cow<'c, [(Origin, Command)]>, E>,
    ) -> Result<Submitted, E> {
        let (submitted, touched) = self.append_quietly(writer, self.clock.now(), commands)?;
        if !submitted.events.is_empty() {
            self.publish(writer, touched);
        }
        Ok(submitted)
    }

    /// Everything but the publishing. The second value names the touched prompts; none means all.
    fn append_quietly<'c, E: From<SubmitAllError>>(
        &self,
        writer: &mut Writer,
        now: Timestamp,
        commands: impl Fn(&Catalog) -> Result<Cow<'c, [(Origin, Command)]>, E>,
    ) -> Result<(Submitted, Option<Vec<PromptName>>), E> {
        // Another process may have appended: fold what it wrote, then check and decide again.
        loop {
            let commands = commands(&writer.recorded)?;
            let planned = plan(&writer.recorded, &commands, now, writer.witness.as_ref());
            let (entries, catalog) = planned.map_err(SubmitAllError::Rejected)?;
            if entries.is_empty() {
                let submitted = Submitted::now(writer.recorded.revision, Vec::new());
                return Ok((submitted, Some(Vec::new())));
            }
            match writer.log.append(writer.recorded.revision, &entries) {
                Ok(()) => {
                    let touched = touched(&catalog, entries.iter().map(|entry| &entry.event));
                    writer.recorded = catalog;
                    let events: Vec<_> = entries.into_iter().map(Arc::new).collect();
                    for event in &events {
                        // Nobody listening is fine.
                        let _ = self.events.send(Arc::clone(event));
                    }
                    return Ok((Submitted::now(writer.recorded.revision, events), touched));
                }
                Err(StoreError::Conflict { .. }) => {
                    let missed = writer
                        .log
                        .read(writer.recorded.revision, READ_CHUNK)
                        .map_err(SubmitAllError::Store)?;
                    missed.iter().for_each(|entry| writer.recorded.apply(entry));
                }
                Err(error) => return Err(SubmitAllError::Store(error).into()),
            }
        }
    }

    /// Compiles and swaps the table. `touched` names the prompts that changed; none compiles all of them.
    fn publish(&self, writer: &Writer, touched: Option<Vec<PromptName>>) {
        let now = self.clock.now();
        let mut catalog = writer.recorded.clone();
        for (origin, command, since) in &writer.unrecorded {
            let events = decide(&catalog, command, *since).unwrap_or_default();
            let recorded = catalog.revision;
            // As the entry it will be: under the last entry's number it would count as a part of that change, and
            // take the place of the epoch which that began.
            let revision = Revision(recorded.0 + 1);
            for event in events {
                let Origin {
                    actor,
                    reason,
                    idempotency,
                } = origin.clone();
                catalog.apply(&Recorded {
                    revision,
                    at: *since,
                    actor,
                    reason,
                    event,
                    idempotency,
                });
            }
            catalog.revision = recorded;
        }
        let before = self.view.load();
        let table = self.table.load();
        let previous = touched
            .as_ref()
            .map(|touched| (&**table, &before.unroutable, touched.as_slice()));
        let compiled = compile(&catalog, &self.environment, now, previous);
        for (id, reason) in &compiled.unroutable {
            if before.unroutable.get(id) != Some(reason) {
                tracing::error!(experiment = %id, reason, "unroutable: the prompt stays on its deployed version");
            }
        }
        let view = View {
            catalog,
            unroutable: compiled.unroutable,
            unrecorded: writer.unrecorded.len(),
        };
        writer.subscribers.iter().for_each(|subscriber| subscriber(&view));
        self.view.store(Arc::new(view));
        self.table.publish(Arc::new(compiled.table));
    }
}

/// The prompts that events change, each once; none means all.
fn touched<'e>(catalog: &Catalog, events: impl IntoIterator<Item = &'e Event>) -> Option<Vec<PromptName>> {
    let mut all = BTreeSet::new();
    for event in events {
        match catalog.touched(event) {
            Touched::Prompts(prompts) => all.extend(prompts),
            Touched::All => return None,
        }
    }
    Some(all.into_iter().collect())
}

/// What a set of commands would do to a catalog, all or nothing.
///
/// # Errors
/// Every refused command.
pub fn rehearse(
    catalog: &Catalog,
    commands: &[(Origin, Command)],
    now: Timestamp,
) -> Result<Vec<Recorded>, Vec<RefusedCommand>> {
    plan(catalog, commands, now, None).map(|(entries, _)| entries)
}

/// Decides a set of commands on a copy of the catalog.
fn plan(
    catalog: &Catalog,
    commands: &[(Origin, Command)],
    now: Timestamp,
    witness: Option<&Witness>,
) -> Result<(Vec<Recorded>, Catalog), Vec<RefusedCommand>> {
    let mut catalog = catalog.clone();
    let mut entries = Vec::new();
    let mut waiting: Vec<usize> = (0..commands.len()).collect();
    loop {
        let mut refused = Vec::new();
        let before = waiting.len();
        for index in waiting {
            let (origin, command) = &commands[index];
            match decide(&catalog, command, now) {
                Ok(events) => {
                    for mut event in events {
                        bear_witness(&mut event, &catalog, witness, now);
                        let Origin {
                            actor,
                            reason,
                            idempotency,
                        } = origin.clone();
                        let entry = Recorded {
                            revision: Revision(catalog.revision.0 + 1),
                            at: now,
                            actor,
                            reason,
                            event,
                            idempotency,
                        };
                        catalog.apply(&entry);
                        entries.push(entry);
                    }
                }
                Err(rejection) => refused.push(RefusedCommand { index, rejection }),
            }
        }
        if refused.is_empty() {
            return Ok((entries, catalog));
        }
        if refused.len() == before {
            return Err(refused);
        }
        waiting = refused.into_iter().map(|refused| refused.index).collect();
    }
}

/// Adds the results as they are to the end of an experiment that has begun.
fn bear_witness(event: &mut Event, catalog: &Catalog, witness: Option<&Witness>, now: Timestamp) {
    let (Event::ExperimentStopped { id, results, .. } | Event::ExperimentPromoted { id, results, .. }) =
        event
    else {
        return;
    };
    if let (Some(witness), Some(experiment)) = (witness, catalog.experiments.get(id))
        && experiment.started.is_some()
    {
        *results = witness(experiment, catalog.revision, now);
    }
}
