//! `serin token`: makes a token, shows it once, and says what to write into the settings.

use super::{options::usage, output};
use crate::{
    clock::Clock,
    domain::{
        Timestamp, duration_text,
        id::TokenName,
        token::{RANDOM_BYTES, Role, TokenHash, write},
    },
};
use anyhow::{Context as _, Result, anyhow};
use clap::builder::PossibleValue;
use serde_json::json;
use std::{fs::File, io::Read as _, path::Path};

/// The largest file that a token is read from.
const LARGEST_FILE: u64 = 4096;

/// Make a token for the control plane
///
/// It is shown once and kept nowhere: the settings only have its hash.
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// Who will hold it; the audit log has this name [default: one made of its hash]
    #[arg(value_name = "NAME", value_parser = name)]
    holder: Option<TokenName>,
    /// The same
    #[arg(long, value_parser = name, conflicts_with = "holder")]
    name: Option<TokenName>,
    /// What its holder may do: look; make, start, stop and freeze experiments; resume, promote and deploy; change keys
    #[arg(long, default_value = "viewer")]
    role: Role,
    /// When it stops being good: a time from now such as 90d, or a moment such as 2027-01-01T00:00:00Z
    /// [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

impl clap::ValueEnum for Role {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Viewer, Self::Experimenter, Self::Operator, Self::Admin]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

fn name(written: &str) -> Result<TokenName, String> {
    TokenName::new(written).map_err(|error| error.to_string())
}

/// Makes one and prints it.
///
/// # Errors
/// When the system has no random bytes, or standard output is closed.
pub(super) fn run(asked: &Token, json: bool) -> Result<()> {
    let now = Clock::System.now();
    let expires = asked.expires.as_deref().map(|text| moment(text, now));
    let expires = expires.transpose().unwrap_or_else(|problem| usage(&problem));
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| anyhow!("the system gave no random bytes: {error}"))?;
    let token = write(&random);
    let hash = TokenHash::of(token.as_bytes());
    let name = match asked.holder.as_ref().or(asked.name.as_ref()) {
        Some(name) => name.clone(),
        None => named_after(&hash)?,
    };
    let entry = entry(&name, asked.role, &hash, expires);
    if json {
        return output::print_json(&json!({
            "name": name, "role": asked.role.as_str(), "expires": expires, "token": token,
            "hash": hash.to_string(), "entry": entry,
        }));
    }
    output::print(&format!(
        "{token}\n\nThis is shown once: hand it to its holder now, who sets SERIN_TOKEN or sends it as\n\
         `Authorization: Bearer …`. Add this to the list `tokens` of [auth] in the settings; a running server takes it\n\
         at once, and taking it out again takes the token back:\n\n{entry},\n"
    ))
}

/// The token as the settings have it.
fn entry(name: &TokenName, role: Role, hash: &TokenHash, expires: Option<Timestamp>) -> String {
    let expires = expires.map_or_else(String::new, |at| format!(", expires = {at}"));
    format!("{{ name = \"{name}\", role = \"{role}\", hash = \"{hash}\"{expires} }}")
}

/// A name that no other token has.
fn named_after(hash: &TokenHash) -> Result<TokenName> {
    let digits = hash.to_string().replace("sha256:", "");
    TokenName::new(&format!("token-{:.8}", digits)).context("a name cannot be made of the hash")
}

fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => duration_text::parse(text)
            .ok()
            .and_then(|duration| now.checked_add(duration).ok())
            .ok_or(
                "--expires must be a time from now such as 90d, or a moment such as 2027-01-01T00:00:00Z",
            )?,
    };
    // Fractions of a second would only make the line longer.
    let whole = Timestamp::from_second(moment.as_second()).unwrap_or(moment);
    if whole > now {
        Ok(whole)
    } else {
        Err(format!("--expires must be later than now, found {whole}"))
    }
}

/// The token in a file, with or without a line's end.
///
/// # Errors
/// When the file cannot be read, or has no token. Never says what is in it.
pub(super) fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|open| open.take(LARGEST_FILE).read_to_string(&mut text));
    read.with_context(|| format!("the token in {} cannot be read", file.display()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(anyhow!("there is no token in {}", file.display()));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_moment_or_a_time_from_now() {
        let now: Timestamp = "2026-12-01T00:00:00.5Z".parse().unwrap();
        let read = |text| moment(text, now).map(|at| at.to_string());
        assert_eq!(read("90d").as_deref(), Ok("2027-03-01T00:00:00Z"));
        assert_eq!(
            read("2027-01-01T01:00:00+01:00").as_deref(),
            Ok("2027-01-01T00:00:00Z")
        );
        for bad in ["", "soon", "90", "-1d", "9999999999d", "2027-01-01"] {
            assert!(
                read(bad).unwrap_err().contains("must be a time from now"),
                "{bad}"
            );
        }
        for past in ["0s", "2026-12-01T00:00:00Z"] {
            assert!(read(past).unwrap_err().contains("later than now"), "{past}");
        }
    }
}
