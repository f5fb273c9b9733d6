//! One webhook and its way through the log.

use super::{
    SharedCursors,
    address::Address,
    backoff::{self, Backoff},
    client::Client,
    message::Message,
    news::{News, Woken},
    off_the_runtime,
    signature::{self, Secret, Secrets},
    status::Status,
};
use crate::{clock::Clock, control_plane::ControlPlane, domain::id::Revision};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::{sync::Arc, time::Duration};

const SIGNATURE: HeaderName = HeaderName::from_static("serin-signature");
const EVENT_ID: HeaderName = HeaderName::from_static("serin-event-id");
const EVENT: HeaderName = HeaderName::from_static("serin-event");

/// Entries read from the log at a time: few, since reading holds up whoever writes.
const READ_CHUNK: usize = 32;

/// A receiver of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// What metrics and its cursor know it by.
    pub name: String,
    /// Where it is.
    pub url: Address,
    /// What its messages are signed with.
    pub secrets: Secrets,
    /// The transitions it is told, of [`transition::ALL`](super::transition::ALL).
    pub events: Vec<&'static str>,
    /// The longest an attempt may take.
    pub timeout: Duration,
}

/// A webhook at work.
pub(super) struct Outbox {
    pub(super) webhook: Webhook,
    pub(super) secrets: Vec<Secret>,
    pub(super) client: Client,
    pub(super) backoff: Backoff,
    pub(super) plane: Arc<ControlPlane>,
    pub(super) clock: Clock,
    pub(super) status: Arc<Status>,
}

impl Outbox {
    /// Tells everything after `through`, until the end.
    pub(super) async fn run(self, through: Revision, cursors: SharedCursors, mut news: News) {
        // A log that was begun anew is shorter than what was taken of the old one.
        let mut through = through.min(self.plane.view().catalog.revision);
        self.status.stand(through.0);
        let mut failures = 0;
        while !news.is_over() {
            match self.follow(&mut through, &cursors, &mut news).await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    failures = 0;
                    // Looking for nothing would take the writer's lock for nothing.
                    while news.wait().await == Woken::Time && self.plane.view().catalog.revision <= through {}
                }
                Err(error) => {
                    failures += 1;
                    let pause = self.backoff.pause(failures, backoff::draw(), None);
                    tracing::error!(endpoint = self.webhook.name, %error, ?pause, "the log cannot be read to tell of it");
                    news.pause(pause).await;
                }
            }
        }
    }

    /// Tells the next few entries; says whether there were any.
    async fn follow(
        &self,
        through: &mut Revision,
        cursors: &SharedCursors,
        news: &mut News,
    ) -> Result<bool, crate::store::error::StoreError> {
        let (plane, after) = (Arc::clone(&self.plane), *through);
        let entries = off_the_runtime(move || plane.history(after, READ_CHUNK)).await?;
        // Read after the entries, so it has all of them.
        let view = self.plane.view();
        let mut remembered = *through;
        for entry in &entries {
            let message = Message::of(entry, &view.catalog)
                .filter(|message| self.webhook.events.contains(&message.transition));
            if let Some(message) = message {
                if !self.deliver(&message, news).await {
                    break;
                }
                self.remember(cursors, entry.revision).await;
                remembered = entry.revision;
            }
            *through = entry.revision;
            self.status.stand(through.0);
        }
        if *through != remembered {
            self.remember(cursors, *through).await;
        }
        Ok(!entries.is_empty())
    }

    /// What is not remembered is told again after a restart, which is allowed; what is lost would not be.
    async fn remember(&self, cursors: &SharedCursors, through: Revision) {
        if let Err(error) = cursors.advance(&self.webhook.name, through).await {
            let endpoint = &self.webhook.name;
            tracing::warn!(endpoint, %through, %error, "what was taken cannot be remembered; a restart repeats it");
        }
    }

    /// Sends a message until it is taken; no when the end came first.
    async fn deliver(&self, message: &Message, news: &mut News) -> bool {
        let Message {
            revision, transition, ..
        } = message;
        let endpoint = &self.webhook.name;
        let mut failures = 0;
        while !news.is_over() {
            let error = match self.attempt(message).await {
                Ok(()) => {
                    self.status.count_delivered(self.clock.unix_second());
                    if failures > 0 {
                        tracing::info!(endpoint, %revision, transition, failures, "a message was taken after all");
                    }
                    return true;
                }
                Err(error) => error,
            };
            self.status.count_failed();
            failures += 1;
            let pause = self.backoff.pause(failures, backoff::draw(), error.again_after());
            // No answer means that it is not wanted, not even a 410: a freeze that nobody hears of is worse than one
            // that is told to a receiver which was taken away.
            tracing::warn!(
                endpoint, %revision, transition, failures, ?pause, %error,
                "a message was not taken; it is sent again, and those after it wait"
            );
            if news.pause(pause).await == Woken::End {
                return false;
            }
        }
        false
    }

    async fn attempt(&self, message: &Message) -> Result<(), super::client::DeliveryError> {
        let body = Bytes::from(message.body.clone());
        let signature = signature::header(&self.secrets, self.clock.unix_second(), &body);
        let mut headers = HeaderMap::new();
        headers.insert(EVENT, HeaderValue::from_static(message.transition));
        headers.insert(EVENT_ID, HeaderValue::from(message.revision.0));
        // Digits, letters and a few signs are a value.
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            headers.insert(SIGNATURE, signature);
        }
        let Webhook { url, timeout, .. } = &self.webhook;
        self.client.post(url, headers, body, *timeout).await
    }
}
