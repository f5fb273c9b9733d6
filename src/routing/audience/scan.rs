//! One look over the characters before the parser sees them.
//!
//! It owns the limits that keep the parser and the interpreter off the end of the stack, both of which recurse, and
//! the slips that are plainer as characters than as a parser's expectations. It refuses nothing the language allows
//! within those limits.

use super::error::{AudienceError, Place};

/// The longest source, in bytes: several hundred literals.
pub const MOST_BYTES: usize = 16_384;

/// The deepest nesting: open brackets, and the operators and conditions around the innermost part.
pub const MOST_NESTING: usize = 32;

/// A word of the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'s> {
    /// Where it begins, in bytes.
    pub(super) at: usize,
    /// As it was written.
    pub(super) text: &'s str,
}

/// An open bracket, or the whole expression, and what was read inside since it began or since a part ended.
struct Level {
    bracket: Option<Bracket>,
    operators: usize,
    conditions: usize,
}

struct Bracket {
    at: usize,
    open: &'static str,
    close: &'static str,
}

/// The tokens of a source within the limits, its texts closed and its brackets matched.
pub(super) fn scan(source: &str) -> Result<Vec<Token<'_>>, AudienceError> {
    if source.len() > MOST_BYTES {
        return Err(AudienceError::TooLong { bytes: source.len() });
    }
    let mut tokens = Vec::new();
    let mut levels = Levels::new(source);
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        if matches!(first, ' ' | '\t' | '\r' | '\n' | '\u{c}') {
            at += 1;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let length = length(source, at, first)?;
        let token = Token {
            at,
            text: &rest[..length],
        };
        levels.read(token)?;
        tokens.push(token);
        at += length;
    }
    levels.end()?;
    if tokens.is_empty() {
        return Err(AudienceError::Empty);
    }
    Ok(tokens)
}

/// The bytes of the token that begins at `at`.
fn length(source: &str, at: usize, first: char) -> Result<usize, AudienceError> {
    let rest = &source[at..];
    let refused = |problem: String| AudienceError::Syntax {
        place: Place::of(source, at),
        problem,
    };
    if let Some(length) = text_length(rest) {
        return length.ok_or_else(|| refused("this text is never closed, its quote is missing".to_owned()));
    }
    if first.is_ascii_alphanumeric() || first == '_' {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        return Ok(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
    }
    if ["==", "!=", "<=", ">=", "&&", "||"]
        .iter()
        .any(|mark| rest.starts_with(mark))
    {
        return Ok(2);
    }
    match first {
        '[' | ']' | '{' | '}' | '(' | ')' | '.' | ',' | '-' | '!' | '?' | ':' | '+' | '*' | '/' | '%'
        | '<' | '>' => Ok(1),
        '=' => Err(refused("`=` is no operator, write `==` to compare".to_owned())),
        '&' => Err(refused("`&` is no operator, write `&&`".to_owned())),
        '|' => Err(refused("`|` is no operator, write `||`".to_owned())),
        '“' | '”' | '„' | '‘' | '’' | '‚' | '«' | '»' => {
            Err(refused(format!("`{first}` does not quote, write `\"` or `'`")))
        }
        _ if first.is_alphabetic() => Err(refused(format!(
            "unexpected `{first}`, names are letters a to z, digits and `_`, and texts are quoted"
        ))),
        _ => Err(refused(format!("unexpected `{}`", first.escape_debug()))),
    }
}

/// The bytes of the text literal `rest` begins with, prefix and quotes included: none when it begins with something
/// else, and none inside when it is never closed.
fn text_length(rest: &str) -> Option<Option<usize>> {
    let bytes = rest.as_bytes();
    let mut at = usize::from(matches!(bytes.first(), Some(b'b' | b'B')));
    let is_raw = matches!(bytes.get(at), Some(b'r' | b'R'));
    at += usize::from(is_raw);
    let quote = *bytes.get(at).filter(|byte| matches!(byte, b'"' | b'\''))?;
    let is_triple = bytes[at..].starts_with(&[quote; 3]);
    let closing = if is_triple { 3 } else { 1 };
    at += closing;
    // Quotes and backslashes are ASCII, so looking at bytes never mistakes a part of a character for one.
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if !is_raw => at += 2,
            b'\n' | b'\r' if !is_triple => return Some(None),
            _ if bytes[at..].starts_with(&[quote; 3][..closing]) => return Some(Some(at + closing)),
            _ => at += 1,
        }
    }
    Some(None)
}

/// The brackets that are open.
struct Levels<'s> {
    source: &'s str,
    open: Vec<Level>,
    /// Whether the token before could end a value.
    is_behind_value: bool,
}

impl<'s> Levels<'s> {
    fn new(source: &'s str) -> Self {
        Self {
            source,
            open: vec![Level {
                bracket: None,
                operators: 0,
                conditions: 0,
            }],
            is_behind_value: false,
        }
    }

    fn read(&mut self, token: Token<'_>) -> Result<(), AudienceError> {
        let brackets = [("(", ")"), ("[", "]"), ("{", "}")];
        if let Some(&(open, close)) = brackets.iter().find(|(open, _)| *open == token.text) {
            // A call or an index is an operator of the level it stands in: `a[0][0]` nests.
            if self.is_behind_value {
                self.count(|level| level.operators += 1);
            }
            self.open.push(Level {
                bracket: Some(Bracket {
                    at: token.at,
                    open,
                    close,
                }),
                operators: 0,
                conditions: 0,
            });
        } else if brackets.iter().any(|(_, close)| *close == token.text) {
            self.close(token)?;
        } else {
            match token.text {
                // The parser balances chains of these, so their depth is the logarithm of their length.
                "&&" | "||" => self.count(|level| level.operators = 0),
                "," => self.count(|level| (level.operators, level.conditions) = (0, 0)),
                "?" => self.count(|level| {
                    level.operators = 0;
                    level.conditions += 1;
                }),
                ":" => self.count(|level| level.operators = 0),
                "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "+" | "-" | "*" | "/" | "%" | "." | "!" => {
                    self.count(|level| level.operators += 1);
                }
                _ => {}
            }
        }
        self.is_behind_value = token.text.ends_with(|c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | ')' | ']' | '}' | '"' | '\'')
        });
        let nesting: usize = self.open.iter().map(|l| l.operators + l.conditions + 1).sum();
        if nesting > MOST_NESTING {
            return Err(AudienceError::TooDeep {
                place: Place::of(self.source, token.at),
            });
        }
        Ok(())
    }

    fn count(&mut self, change: impl FnOnce(&mut Level)) {
        if let Some(level) = self.open.last_mut() {
            change(level);
        }
    }

    fn close(&mut self, token: Token<'_>) -> Result<(), AudienceError> {
        let problem = match self.open.pop().and_then(|level| level.bracket) {
            Some(bracket) if bracket.close == token.text => return Ok(()),
            Some(bracket) => {
                format!(
                    "`{}` does not close `{}`, write `{}`",
                    token.text, bracket.open, bracket.close
                )
            }
            None => format!("`{}` closes nothing", token.text),
        };
        Err(AudienceError::Syntax {
            place: Place::of(self.source, token.at),
            problem,
        })
    }

    fn end(mut self) -> Result<(), AudienceError> {
        match self.open.pop().and_then(|level| level.bracket) {
            Some(bracket) => Err(AudienceError::Syntax {
                place: Place::of(self.source, bracket.at),
                problem: format!("`{}` is never closed", bracket.open),
            }),
            None => Ok(()),
        }
    }
}
