//! What a version must keep to before it is deployed: its syntax, its variables against those callers know, its size,
//! and that it gives away no key.

use super::{
    content::{Config, PromptContent},
    finding::{Finding, FindingCode},
    secrets::secrets,
    variables::{Braced, ambiguous, braced, variables},
};
use std::collections::BTreeSet;

/// Bytes of English text that make about one token; what a model's own tokenizer counts may differ by a third.
pub const BYTES_PER_TOKEN: usize = 4;
/// The estimate in tokens above which somebody should have meant it.
pub const LARGE_TOKENS: usize = 16_000;
/// The longest piece of a prompt that a message repeats, in characters.
const LONGEST_ECHO: usize = 40;
/// Braces of one text that are told of, where something is wrong with them.
const MOST_BRACES: usize = 20;

/// What is to be known of a content before it is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// Bytes of all its texts.
    pub bytes: usize,
    /// About so many tokens, by [`BYTES_PER_TOKEN`], rounded up.
    pub tokens: usize,
    /// Its variables.
    pub variables: BTreeSet<String>,
    /// Its placeholders.
    pub placeholders: BTreeSet<String>,
    /// What stands against it, in order of place.
    pub findings: Vec<Finding>,
}

/// Validates a resolved content and its config against what is deployed now; without that against nothing.
///
/// ```
/// use serin::domain::prompt::{Config, PromptContent, validation::validate};
/// let [old, new] = ["{{question}}", "{{question}} {{tone}}"].map(|text| PromptContent::Text(text.into()));
/// let validation = validate(&new, &Config::new(), Some(&old));
/// assert_eq!(validation.findings[0].code.as_str(), "variable_added");
/// assert_eq!(validation.tokens, 6); // 21 bytes
/// ```
#[must_use]
pub fn validate(content: &PromptContent, config: &Config, deployed: Option<&PromptContent>) -> Validation {
    let mut findings = Vec::new();
    for (place, text) in content.texts() {
        syntax(&place, text, &mut findings);
        for secret in secrets(text) {
            findings.push(secret_finding(
                format!("{place}, line {}", secret.line),
                secret.of,
            ));
        }
    }
    for (key, value) in config {
        let text = serde_json::to_string(value).unwrap_or_default();
        findings.extend(
            secrets(&text)
                .iter()
                .map(|secret| secret_finding(format!("config.{key}"), secret.of)),
        );
    }
    for name in ambiguous(content) {
        findings.push(Finding::new(
            FindingCode::AmbiguousName,
            name,
            "is a variable and a placeholder, and a caller can fill only one of them",
            "register a version with another name for one of them",
        ));
    }
    let bytes = content.bytes();
    let tokens = bytes.div_ceil(BYTES_PER_TOKEN);
    if content.texts().all(|(_, text)| text.trim().is_empty()) && content.placeholders().next().is_none() {
        let (problem, remedy) = ("has no text", "accept it, or register a version with content");
        findings.push(Finding::new(FindingCode::Empty, "prompt", problem, remedy));
    }
    if tokens > LARGE_TOKENS {
        findings.push(Finding::new(
            FindingCode::Large,
            "prompt",
            format!("has {bytes} bytes, about {tokens} tokens, more than {LARGE_TOKENS}"),
            "accept it, or register a shorter version",
        ));
    }
    let (variables, placeholders) = names(content);
    if let Some(deployed) = deployed {
        let (known_variables, known_placeholders) = names(deployed);
        let variable = [FindingCode::VariableAdded, FindingCode::VariableRemoved];
        changed("variable", variable, &known_variables, &variables, &mut findings);
        let placeholder = [FindingCode::PlaceholderAdded, FindingCode::PlaceholderRemoved];
        changed(
            "placeholder",
            placeholder,
            &known_placeholders,
            &placeholders,
            &mut findings,
        );
    }
    Validation {
        bytes,
        tokens,
        variables,
        placeholders,
        findings,
    }
}

fn names(content: &PromptContent) -> (BTreeSet<String>, BTreeSet<String>) {
    (
        variables(content),
        content.placeholders().map(str::to_owned).collect(),
    )
}

fn secret_finding(place: String, of: &str) -> Finding {
    Finding::new(
        FindingCode::Secret,
        place,
        format!("looks like {of}"),
        "revoke the key, and register a version without it",
    )
}

fn syntax(place: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut ends = BTreeSet::new();
    let most = findings.len() + MOST_BRACES;
    for found in braced(text) {
        let told = findings.len() < most;
        match found {
            Braced::Variable { place, .. } => {
                ends.insert(place.end);
            }
            Braced::Other { place: at, inner } => {
                ends.insert(at.end);
                if !told {
                    continue;
                }
                let inner: String = inner.chars().take(LONGEST_ECHO).collect();
                findings.push(Finding::new(
                    FindingCode::NotAVariable,
                    place,
                    format!("`{{{{{inner}}}}}` is no variable, and clients differ in what they make of it"),
                    "name it with letters, digits, `_`, `-` and `.`, or accept it as text",
                ));
            }
            Braced::Unclosed { .. } if !told => {}
            Braced::Unclosed { at } => {
                let rest: String = text[at..].chars().take(LONGEST_ECHO).collect();
                findings.push(Finding::new(
                    FindingCode::UnclosedDelimiter,
                    place,
                    format!("`{{{{` is never closed: {rest:?}"),
                    "close it with `}}`, or put a space between the braces where they are text",
                ));
            }
        }
    }
    // The end of nested JSON looks the same, so this is worth a word and no more.
    let stray = text
        .match_indices("}}")
        .filter(|(at, _)| !ends.contains(&(at + 2)))
        .count();
    if stray > 0 {
        findings.push(Finding::new(
            FindingCode::StrayDelimiter,
            place,
            format!("`}}}}` closes nothing in {stray} place(s)"),
            "see whether a `{{` is missing; the end of nested JSON is fine",
        ));
    }
}

fn changed(
    what: &str,
    [added, removed]: [FindingCode; 2],
    known: &BTreeSet<String>,
    now: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) {
    for name in now.difference(known) {
        findings.push(Finding::new(
            added,
            name,
            format!("is a new {what}: callers that do not fill it send it as it is written"),
            format!("see that callers fill it, then accept {added}:{name}"),
        ));
    }
    for name in known.difference(now) {
        findings.push(Finding::new(
            removed,
            name,
            format!("is a {what} of the deployed version and not of this one: what callers fill it with is left out"),
            format!("see that nothing depends on it, then accept {removed}:{name}"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str, deployed: Option<&str>) -> Vec<String> {
        let content = |text: &str| PromptContent::Text(text.to_owned());
        let deployed = deployed.map(content);
        let found = validate(&content(text), &Config::new(), deployed.as_ref()).findings;
        found
            .iter()
            .map(|finding| format!("{}:{}", finding.code, finding.place))
            .collect()
    }

    #[test]
    fn each_rule_has_its_finding() {
        for (text, deployed, expected) in [
            ("{{a}}", Some("{{a}}"), vec![]),
            (
                "{{a}} {{b}}",
                Some("{{a}} {{c}}"),
                vec!["variable_added:b", "variable_removed:c"],
            ),
            ("hi {{a", None, vec!["unclosed_delimiter:prompt"]),
            ("{{#if}} x", None, vec!["not_a_variable:prompt"]),
            (r#"{"a":{"b":1}}"#, None, vec!["stray_delimiter:prompt"]),
            ("  ", None, vec!["empty:prompt"]),
            (
                "x\nghp_8fK2qLz0Wm4Xc7Rt1Yb9Hn3Vd6Js5Pg2Qa0Eu",
                None,
                vec!["secret:prompt, line 2"],
            ),
        ] {
            assert_eq!(codes(text, deployed), expected, "{text}");
        }
        assert_eq!(
            codes(&"word ".repeat(13_000), None),
            ["large:prompt"],
            "16,250 tokens"
        );
    }

    #[test]
    fn a_key_in_the_config_is_found_and_not_repeated() {
        let key = "sk-8fK2qLz0Wm4Xc7Rt1Yb9Hn3Vd6Js5Pg2";
        let config = serde_json::from_value(serde_json::json!({"tool": {"auth": key}})).unwrap();
        let found = validate(&PromptContent::Text("x".into()), &config, None).findings;
        assert_eq!((found.len(), found[0].place.as_str()), (1, "config.tool"));
        assert!(!format!("{found:?}").contains(key));
    }
}
