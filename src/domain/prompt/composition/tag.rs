//! The tags in a text.

use super::{Reference, Target};
use crate::domain::{
    id::{LabelName, PromptName, VersionNumber},
    prompt::PromptContent,
};
use std::ops::Range;

const OPEN: &str = "@@@langfusePrompt:";
const CLOSE: &str = "@@@";
/// The most of a broken tag that a message repeats, in characters.
const LONGEST_ECHO: usize = 80;

/// A tag and its place in the text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// From the first `@` to after the last.
    pub place: Range<usize>,
    /// What it includes.
    pub reference: Reference,
}

/// A tag that includes nothing because it is not written as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tag `{tag}` {problem}; write @@@langfusePrompt:name=NAME|version=3@@@ or |label=LABEL@@@")]
pub struct TagError {
    tag: String,
    problem: String,
}

/// Every tag of a text, in order.
///
/// ```
/// use serin::domain::prompt::composition::tags;
/// let found = tags("Hi. @@@langfusePrompt:name=tone|label=production@@@").unwrap();
/// assert_eq!(found[0].reference.to_string(), "label `production` of prompt `tone`");
/// assert!(tags("@@@langfusePrompt:tone@@@").is_err());
/// ```
///
/// # Errors
/// [`TagError`] for the first tag that is not well formed: left as text it would go to a model.
pub fn tags(text: &str) -> Result<Vec<Tag>, TagError> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(OPEN).map(|at| from + at) {
        let inner = start + OPEN.len();
        let broken = |tag: &str, problem: String| TagError {
            tag: tag.chars().take(LONGEST_ECHO).collect(),
            problem,
        };
        let Some(end) = text[inner..].find(CLOSE).map(|at| inner + at) else {
            return Err(broken(&text[start..], "has no closing `@@@`".to_owned()));
        };
        let place = start..end + CLOSE.len();
        let reference =
            reference(&text[inner..end]).map_err(|problem| broken(&text[place.clone()], problem))?;
        from = place.end;
        found.push(Tag { place, reference });
    }
    Ok(found)
}

fn reference(inner: &str) -> Result<Reference, String> {
    let mut parts = inner.split('|');
    let (Some(name), Some(target), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err("needs two parts with one `|` between them".to_owned());
    };
    let name = name.strip_prefix("name=").ok_or("must begin with `name=`")?;
    let prompt = PromptName::new(name).map_err(|error| format!("has no usable name: {error}"))?;
    let target = match target.split_once('=') {
        Some(("version", version)) => {
            let number = version.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or("has no usable version: a whole number from 1")?;
            Target::Version(VersionNumber(number))
        }
        Some(("label", label)) => {
            Target::Label(LabelName::new(label).map_err(|error| format!("has no usable label: {error}"))?)
        }
        _ => return Err("needs `version=` or `label=` after the name".to_owned()),
    };
    Ok(Reference { prompt, target })
}

/// What a content includes, each once, in the order of the first mention.
///
/// # Errors
/// [`TagError`] for the first tag that is not well formed, with the place of its text.
pub fn references(content: &PromptContent) -> Result<Vec<Reference>, (String, TagError)> {
    let mut found: Vec<Reference> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for (place, text) in content.texts() {
        for tag in tags(text).map_err(|error| (place, error))? {
            if known.insert(tag.reference.clone()) {
                found.push(tag.reference);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_with_their_places() {
        let text = "a @@@langfusePrompt:name=x y/z|version=12@@@ b@@@langfusePrompt:name=q|label=latest@@@";
        let found = tags(text).unwrap();
        assert_eq!(found[0].reference.to_string(), "version 12 of prompt `x y/z`");
        assert_eq!(
            &text[found[0].place.clone()],
            "@@@langfusePrompt:name=x y/z|version=12@@@"
        );
        assert_eq!(found[1].place.end, text.len());
        assert_eq!(tags("@@@ and @@@langfuse are text").unwrap(), []);
    }

    #[test]
    fn a_broken_tag_is_no_text() {
        for (text, problem) in [
            ("@@@langfusePrompt:name=a|version=1", "no closing"),
            ("@@@langfusePrompt:name=a@@@", "two parts"),
            ("@@@langfusePrompt:name=a|version=1|label=b@@@", "two parts"),
            ("@@@langfusePrompt:version=1|name=a@@@", "begin with `name=`"),
            ("@@@langfusePrompt:name=a|version=0@@@", "from 1"),
            ("@@@langfusePrompt:name=a|version=x@@@", "from 1"),
            ("@@@langfusePrompt:name=a|tag=x@@@", "`version=` or `label=`"),
            ("@@@langfusePrompt:name=|version=1@@@", "usable name"),
            ("@@@langfusePrompt:name=a|label=a b@@@", "usable label"),
        ] {
            let error = tags(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
