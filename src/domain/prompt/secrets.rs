//! Keys of known shapes in a text: a prompt goes to a model, into the log for good and to whoever may read it.
//!
//! Shapes are those the issuers document; a tail that looks like words is taken for an example.

/// A shape: how it begins, how long what follows is at least, and whose it is.
struct Shape {
    prefix: &'static str,
    least: usize,
    of: &'static str,
}

const SHAPES: &[Shape] = &[
    Shape {
        prefix: "sk-",
        least: 20,
        of: "an API key (sk-…)",
    },
    Shape {
        prefix: "sk_live_",
        least: 16,
        of: "a Stripe secret key",
    },
    Shape {
        prefix: "rk_live_",
        least: 16,
        of: "a Stripe restricted key",
    },
    Shape {
        prefix: "AKIA",
        least: 16,
        of: "an AWS access key id",
    },
    Shape {
        prefix: "ASIA",
        least: 16,
        of: "an AWS session key id",
    },
    Shape {
        prefix: "AIza",
        least: 35,
        of: "a Google API key",
    },
    Shape {
        prefix: "ghp_",
        least: 36,
        of: "a GitHub token",
    },
    Shape {
        prefix: "gho_",
        least: 36,
        of: "a GitHub token",
    },
    Shape {
        prefix: "ghu_",
        least: 36,
        of: "a GitHub token",
    },
    Shape {
        prefix: "ghs_",
        least: 36,
        of: "a GitHub token",
    },
    Shape {
        prefix: "ghr_",
        least: 36,
        of: "a GitHub token",
    },
    Shape {
        prefix: "github_pat_",
        least: 40,
        of: "a GitHub token",
    },
    Shape {
        prefix: "glpat-",
        least: 20,
        of: "a GitLab token",
    },
    Shape {
        prefix: "xoxb-",
        least: 20,
        of: "a Slack token",
    },
    Shape {
        prefix: "xoxp-",
        least: 20,
        of: "a Slack token",
    },
    Shape {
        prefix: "xoxa-",
        least: 20,
        of: "a Slack token",
    },
    Shape {
        prefix: "hf_",
        least: 30,
        of: "a Hugging Face token",
    },
    Shape {
        prefix: "npm_",
        least: 36,
        of: "an npm token",
    },
    Shape {
        prefix: "eyJhbGciOi",
        least: 40,
        of: "a JSON web token",
    },
];

const PRIVATE_KEY: (&str, &str) = ("-----BEGIN ", "PRIVATE KEY-----");
/// Words repeat few letters and no digits; keys are drawn at random.
const LEAST_DISTINCT: usize = 8;

/// Keys of one shape that are told of: one is enough to act on.
const MOST_OF_A_SHAPE: usize = 8;

/// A key in a text, without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// The line it is in, from 1.
    pub line: usize,
    /// Whose key it looks like, with an article.
    pub of: &'static str,
}

/// The keys of known shapes, in order of the shapes, at most eight of each.
///
/// ```
/// use serin::domain::prompt::secrets::secrets;
/// assert_eq!(secrets("call it\nwith AKIAQ4XN7TPL2MZC8RBV")[0].line, 2);
/// assert!(secrets("never ask for keys like sk-your-secret-key-goes-here").is_empty());
/// ```
#[must_use]
pub fn secrets(text: &str) -> Vec<Secret> {
    let line = |at: usize| 1 + text[..at].bytes().filter(|b| *b == b'\n').count();
    let mut found: Vec<Secret> = SHAPES
        .iter()
        .flat_map(|shape| {
            let places = text.match_indices(shape.prefix).map(|(at, _)| at);
            let real = places.filter(|at| {
                begins_a_word(text, *at) && is_key(&text[at + shape.prefix.len()..], shape.least)
            });
            real.map(|at| Secret {
                line: line(at),
                of: shape.of,
            })
            .take(MOST_OF_A_SHAPE)
            .collect::<Vec<_>>()
        })
        .collect();
    let (begin, end) = PRIVATE_KEY;
    found.extend(
        text.match_indices(begin)
            .filter_map(|(at, _)| {
                let rest = text[at + begin.len()..].lines().next()?;
                rest.contains(end).then(|| Secret {
                    line: line(at),
                    of: "a private key",
                })
            })
            .take(MOST_OF_A_SHAPE),
    );
    found
}

fn begins_a_word(text: &str, at: usize) -> bool {
    text[..at]
        .chars()
        .next_back()
        .is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != '-')
}

fn is_key(tail: &str, least: usize) -> bool {
    let key: Vec<u8> = tail
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        .collect();
    let distinct = key.iter().collect::<std::collections::BTreeSet<_>>().len();
    key.len() >= least && distinct >= LEAST_DISTINCT && key.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_words() {
        let key = |prefix: &str| format!("{prefix}8fK2qLz0Wm4Xc7Rt1Yb9Hn3Vd6Js5Pg2Qa0EuT1Z");
        for shape in SHAPES {
            assert_eq!(secrets(&key(shape.prefix)).len(), 1, "{}", shape.prefix);
        }
        assert_eq!(secrets("-----BEGIN RSA PRIVATE KEY-----\nabc").len(), 1);
        for fine in [
            "sk-",
            "risk-8fK2qLz0Wm4Xc7Rt1Yb9Hn3Vd6Js",
            "sk-00000000000000000000000000",
            "AKIA and ASIA begin the ids of keys",
            "-----BEGIN CERTIFICATE-----",
        ] {
            assert_eq!(secrets(fine), [], "{fine}");
        }
    }
}
