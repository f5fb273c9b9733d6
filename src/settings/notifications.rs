//! `[notifications]`: who is told of what, and how long it is tried.

use super::{MILLISECOND, MINUTE, SECOND, duration};
use crate::{
    definitions::reader::{Field, Table},
    domain::duration_text,
    notices::{
        Options,
        address::Address,
        alertmanager::{self, Alertmanager},
        signature::{MOST_SECRETS, Secret, Secrets},
        transition::{self, DEPLOYED},
        webhook::Webhook,
    },
};
use std::{path::PathBuf, time::Duration};

/// The most receivers of a kind.
const MOST_RECEIVERS: usize = 16;
/// The longest name of a receiver.
const LONGEST_NAME: usize = 64;

/// The section as written, with what cannot be used left out and told.
pub(super) fn read(mut section: Table<'_>) -> Options {
    let mut names = Vec::new();
    let webhooks = receivers(&mut section, "webhooks");
    let webhooks = webhooks.iter().filter_map(|field| webhook(field, &mut names));
    let webhooks = webhooks.collect();
    let alertmanagers = receivers(&mut section, "alertmanager");
    let alertmanagers = alertmanagers
        .iter()
        .filter_map(|field| alertmanager(field, &mut names))
        .collect();
    let retry_min = duration(&mut section, "retry_min", SECOND, 10 * MILLISECOND..=MINUTE);
    let retry_max = duration(
        &mut section,
        "retry_max",
        5 * MINUTE,
        10 * MILLISECOND..=60 * MINUTE,
    );
    if retry_max < retry_min
        && let Some(field) = section.optional("retry_max")
    {
        let least = duration_text::format(retry_min);
        field.wrong(format_args!("must be at least `retry_min`, which is {least}"));
    }
    let repeat = duration(&mut section, "repeat", MINUTE, 100 * MILLISECOND..=5 * MINUTE);
    section.finish();
    Options {
        webhooks,
        alertmanagers,
        retry_min,
        retry_max,
        repeat,
    }
}

/// The entries of a list of receivers.
fn receivers<'n>(section: &mut Table<'n>, key: &'static str) -> Vec<Field<'n>> {
    let field = section.optional(key);
    let items = field.as_ref().and_then(Field::list).unwrap_or_default();
    if let Some(field) = field.filter(|_| items.len() > MOST_RECEIVERS) {
        field.wrong(format_args!(
            "must have at most {MOST_RECEIVERS} entries, found {}",
            items.len()
        ));
    }
    items
}

fn webhook(field: &Field<'_>, names: &mut Vec<String>) -> Option<Webhook> {
    let mut table = field.table()?;
    let name = name(&mut table, names);
    let url = url(&mut table, "such as \"https://example.org/serin\"");
    let secrets = secrets(&mut table);
    let events = table
        .optional("events")
        .map_or_else(|| Some(of_experiments()), |field| events(&field));
    let timeout = timeout(&mut table);
    table.finish();
    Some(Webhook {
        name: name?,
        url: url?,
        secrets: secrets?,
        events: events?,
        timeout,
    })
}

fn alertmanager(field: &Field<'_>, names: &mut Vec<String>) -> Option<Alertmanager> {
    let mut table = field.table()?;
    let name = name(&mut table, names);
    let path = |url: &Address| url.below(alertmanager::PATH);
    let url = table
        .required("url", "where Alertmanager is, such as \"http://127.0.0.1:9093\"")
        .and_then(|field| {
            let address = Address::parse(field.text()?).and_then(|url| path(&url));
            address.map_err(|problem| field.wrong(problem)).ok()
        });
    let timeout = timeout(&mut table);
    table.finish();
    Some(Alertmanager {
        name: name?,
        url: url?,
        timeout,
    })
}

/// The name of a receiver, which no other one has.
fn name(table: &mut Table<'_>, names: &mut Vec<String>) -> Option<String> {
    let field = table.required("name", "what metrics and log lines call it, such as \"on-call\"")?;
    let name = field.text()?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !(1..=LONGEST_NAME).contains(&name.len()) || !name.chars().all(fine) {
        return field.expected(&format!(
            "1 to {LONGEST_NAME} letters, digits, dots, hyphens and underscores"
        ));
    }
    if names.iter().any(|taken| taken == name) {
        field.wrong(format_args!("`{name}` is the name of another receiver already"));
        return None;
    }
    names.push(name.to_owned());
    Some(name.to_owned())
}

fn url(table: &mut Table<'_>, example: &str) -> Option<Address> {
    let field = table.required("url", &format!("where messages are posted, {example}"))?;
    let address = Address::parse(field.text()?);
    address.map_err(|problem| field.wrong(problem)).ok()
}

fn timeout(table: &mut Table<'_>) -> Duration {
    duration(table, "timeout", 5 * SECOND, 100 * MILLISECOND..=MINUTE)
}

/// One secret, or the present one and the next, here or in files.
fn secrets(table: &mut Table<'_>) -> Option<Secrets> {
    let (here, files) = (table.optional("secret"), table.optional("secret_file"));
    match (here, files) {
        (Some(here), None) => {
            let secret = |field: &Field<'_>| {
                let secret = Secret::new(field.text()?);
                secret.map_err(|problem| field.wrong(problem)).ok()
            };
            one_or_two(here, secret).map(Secrets::Given)
        }
        (None, Some(files)) => {
            let path = |field: &Field<'_>| match field.text()? {
                "" => field.expected("a path"),
                text => Some(PathBuf::from(text)),
            };
            one_or_two(files, path).map(Secrets::Files)
        }
        (Some(_), Some(files)) => {
            files.wrong("either `secret` or `secret_file`, not both");
            None
        }
        (None, None) => {
            let meaning =
                "at least 16 bytes that its messages are signed with, or `secret_file` with a path to them";
            table.required("secret", meaning);
            None
        }
    }
}

fn one_or_two<T>(field: Field<'_>, read: impl Fn(&Field<'_>) -> Option<T>) -> Option<Vec<T>> {
    if !field.is_list() {
        return Some(vec![read(&field)?]);
    }
    let items = field.list()?;
    if !(1..=MOST_SECRETS).contains(&items.len()) {
        field.wrong(format_args!(
            "must have 1 to {MOST_SECRETS} entries, found {}",
            items.len()
        ));
        return None;
    }
    // Every entry is read, so that the mistakes of all are told.
    let read: Vec<Option<T>> = items.iter().map(read).collect();
    read.into_iter().collect()
}

/// What is told to those who do not choose: an experiment's life, and not what files and people deploy besides.
fn of_experiments() -> Vec<&'static str> {
    let told = transition::ALL.into_iter();
    told.filter(|transition| *transition != DEPLOYED).collect()
}

fn events(field: &Field<'_>) -> Option<Vec<&'static str>> {
    let items = field.list()?;
    if items.is_empty() {
        return field.expected("at least one transition; leave it out for all of an experiment's");
    }
    let words = transition::ALL.map(|transition| (transition, transition));
    let chosen: Vec<Option<&str>> = items.iter().map(|item| item.choice(&words)).collect();
    chosen.into_iter().collect()
}
