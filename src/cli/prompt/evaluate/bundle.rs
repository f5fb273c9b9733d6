//! What an evaluation program wrote, checked before anything is attached.

use crate::{cli::table::plain, definitions::evaluation::evaluation_from_json};
use serde_json::{Value, json};

/// The most of an answer that is repeated in a message, in characters.
const LONGEST_ECHO: usize = 80;

/// A bundle with the digest of what was evaluated, as it is attached.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bundle(pub(super) Value);

/// Why an answer is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BundleError {
    /// There is nothing.
    #[error("is empty: write one JSON object with `score` and `threshold` to standard output")]
    Empty,
    /// It is no JSON, or more than that.
    #[error("is not one JSON object ({problem}): `{beginning}`")]
    NotJson {
        /// What the parser says.
        problem: String,
        /// How it begins.
        beginning: String,
    },
    /// The bundle has mistakes.
    #[error("has mistakes: {}", .0.join("; "))]
    Mistakes(Vec<String>),
    /// It is of something else.
    #[error(
        "is of content {found:.12}…, and {given:.12}… was to be evaluated: leave `digest` out, or take the one given"
    )]
    OtherContent {
        /// Its digest.
        found: String,
        /// The digest of what was to be evaluated.
        given: String,
    },
}

/// Reads an answer and puts in the digest of what it is of.
pub(super) fn read(written: &[u8], digest: &str) -> Result<Bundle, BundleError> {
    if written.trim_ascii().is_empty() {
        return Err(BundleError::Empty);
    }
    let mut bundle: Value = serde_json::from_slice(written).map_err(|error| {
        let text = String::from_utf8_lossy(written);
        let beginning: String = text.trim().chars().take(LONGEST_ECHO).collect();
        BundleError::NotJson {
            problem: error.to_string(),
            beginning: plain(&beginning),
        }
    })?;
    let (checked, _) = evaluation_from_json(&bundle)
        .map_err(|problems| BundleError::Mistakes(problems.iter().map(ToString::to_string).collect()))?;
    if let Some(found) = checked.digest.filter(|found| found != digest) {
        return Err(BundleError::OtherContent {
            found,
            given: digest.to_owned(),
        });
    }
    bundle["digest"] = json!(digest);
    Ok(Bundle(bundle))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn the_digest_is_put_in() {
        let read = read(
            br#" {"score": 0.9, "threshold": 0.8, "compared_with": "1.0.0"} "#,
            DIGEST,
        )
        .unwrap();
        assert_eq!(
            read.0,
            json!({"score": 0.9, "threshold": 0.8, "compared_with": "1.0.0", "digest": DIGEST})
        );
    }

    #[test]
    fn what_is_no_bundle_says_why() {
        let told = |written: &str| read(written.as_bytes(), DIGEST).unwrap_err().to_string();
        assert!(told(" \n").starts_with("is empty: "));
        assert!(told("score: 0.9\u{1b}[2J").ends_with("`score: 0.9 [2J`"));
        assert!(told("{\"score\": 1, \"threshold\": 0}\ndone").contains("trailing characters"));
        let mistakes = told(r#"{"score": 92, "treshold": 0.9}"#);
        for part in [
            "score: must be from 0 to 1, found 92",
            "threshold: is required",
            "treshold: ",
        ] {
            assert!(mistakes.contains(part), "{part:?} is not in {mistakes}");
        }
        let other = format!(
            r#"{{"score": 1, "threshold": 0, "digest": "{}"}}"#,
            "b".repeat(64)
        );
        assert!(told(&other).starts_with("is of content bbbbbbbbbbbb…, and aaaaaaaaaaaa… was to be"));
    }
}
