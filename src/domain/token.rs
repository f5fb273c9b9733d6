//! Bearer tokens: who a caller is, and the least role a call asks for.
//!
//! Owns the form of a token, what is kept of it, and the one comparison. Keeps no token: only its SHA-256 digest is
//! written down. A slow hash is for passwords, which can be guessed; a token is 256 random bits, so that a fast one
//! gives nothing away and costs a request nothing. `serin token` makes them, the settings read what is kept, the
//! control plane's API asks [`Tokens::holder`].

use super::{Timestamp, id::TokenName};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// What every token begins with, so that scanners of repositories and logs find a leaked one.
pub const PREFIX: &str = "serin_";
/// The digits that 256 bits take in base 62.
const BODY_DIGITS: usize = 43;
/// The digits that a checksum of 32 bits takes.
const CHECKSUM_DIGITS: usize = 6;
/// The random bytes of a token.
pub const RANDOM_BYTES: usize = 32;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What a written digest begins with, so that another one can follow.
const ALGORITHM: &str = "sha256:";

/// What a caller may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Make experiments, start and end them, and make them safe.
    Experimenter,
    /// Give a version to everyone, and lift a freeze.
    Operator,
    /// Change keys.
    Admin,
}

impl Role {
    /// All, from the least, with the word for each.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("viewer", Self::Viewer),
        ("experimenter", Self::Experimenter),
        ("operator", Self::Operator),
        ("admin", Self::Admin),
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Experimenter => "experimenter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A digest was not written as one. Says nothing of what stands there: it may be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenHashError {
    /// A token itself.
    #[error(
        "must be the hash of a token and not a token; this one is written down now, so take another from `serin token`"
    )]
    IsToken,
    /// Something else.
    #[error("must be `sha256:` and 64 hex digits, as `serin token` prints it")]
    Shape,
}

/// What is kept of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a token as its holder sends it.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    /// [`TokenHashError`].
    pub fn parse(text: &str) -> Result<Self, TokenHashError> {
        if text.starts_with(PREFIX) {
            return Err(TokenHashError::IsToken);
        }
        let digits = text.strip_prefix(ALGORITHM).ok_or(TokenHashError::Shape)?;
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(TokenHashError::Shape);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = &digits[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(pair, 16).map_err(|_| TokenHashError::Shape)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A token as the settings have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Who holds it: the actor of what is done with it.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// What is kept of it.
    pub hash: TokenHash,
    /// From when on it is refused; absent: never.
    pub expires: Option<Timestamp>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody has it: mistyped, taken back, or of another server.
    #[error("the token is not one of this server's")]
    Unknown,
    /// It was good once.
    #[error("the token expired at {0}; ask for a new one")]
    Expired(Timestamp),
}

/// Every token that is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(pub Vec<Token>);

impl Tokens {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token this is. Takes the same time whichever it is and however much of it is right.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn holder(&self, token: &[u8], now: Timestamp) -> Result<&Token, TokenError> {
        let hash = TokenHash::of(token);
        let mut holder = None;
        for known in &self.0 {
            if bool::from(known.hash.0.ct_eq(&hash.0)) {
                holder = Some(known);
            }
        }
        let holder = holder.ok_or(TokenError::Unknown)?;
        match holder.expires {
            Some(expires) if expires <= now => Err(TokenError::Expired(expires)),
            _ => Ok(holder),
        }
    }
}

/// Writes a token: the prefix, the random bytes in base 62, and the CRC-32 of those digits in base 62. It is one word
/// for whoever double-clicks it, and a scanner can tell it from other text without asking anybody.
///
/// ```
/// use serin::domain::token::{is_damaged, write};
///
/// let token = write(&[7; 32]);
/// assert!(token.starts_with("serin_") && token.len() == 55 && !is_damaged(&token));
/// ```
#[must_use]
pub fn write(random: &[u8; RANDOM_BYTES]) -> String {
    let body = base62(random, BODY_DIGITS);
    let checksum = checksum(&body);
    format!("{PREFIX}{body}{checksum}")
}

/// Whether this began as a token and something happened to it, such as a lost last character.
#[must_use]
pub fn is_damaged(token: &str) -> bool {
    let Some(digits) = token.strip_prefix(PREFIX) else {
        return false;
    };
    let body = digits.get(..BODY_DIGITS).unwrap_or_default();
    let rest = digits.get(BODY_DIGITS..).unwrap_or_default();
    rest.is_empty() || checksum(body) != rest
}

fn checksum(body: &str) -> String {
    base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS)
}

/// A big-endian number with this many digits of base 62, by long division.
fn base62(number: &[u8], digits: usize) -> String {
    let mut number = number.to_vec();
    let mut written = vec![DIGITS[0]; digits];
    for digit in written.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            // Less than 256: the rest before was less than 62.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = usize::try_from(rest).map_or(DIGITS[0], |rest| DIGITS[rest]);
    }
    written.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, secret: &str, expires: Option<&str>) -> Token {
        Token {
            name: TokenName::new(name).unwrap(),
            role: Role::Viewer,
            hash: TokenHash::of(secret.as_bytes()),
            expires: expires.map(|text| text.parse().unwrap()),
        }
    }

    #[test]
    fn base_62_keeps_every_bit() {
        assert_eq!(base62(&[0, 0, 0, 61], 6), "00000z");
        assert_eq!(base62(&[0, 0, 0, 62], 6), "000010");
        assert_eq!(base62(&[0xff; 4], 6), "4gfFC3");
        // 2²⁵⁶ − 1 has 43 digits; its first two in base 62 are 0 only when something was lost.
        assert_ne!(&base62(&[0xff; 32], BODY_DIGITS)[..1], "0");
    }

    #[test]
    fn a_damaged_token_is_told() {
        let token = write(&std::array::from_fn(|index| index as u8 * 7));
        assert!(!is_damaged(&token));
        assert!(is_damaged(&token[..token.len() - 1]));
        assert!(is_damaged(&format!("{token}x")));
        assert!(is_damaged(&token.replacen('0', "1", 1)));
        assert!(is_damaged("serin_"));
        assert!(is_damaged("serin_ü"));
        assert!(!is_damaged("made by something else"));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = TokenHash::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(TokenHash::parse(text), Ok(hash));
        assert_eq!(TokenHash::parse(&write(&[1; 32])), Err(TokenHashError::IsToken));
        for bad in [
            "",
            "sha256:",
            &text[7..],
            &text[..70],
            &format!("{text}0"),
            &text.replace('b', "g"),
        ] {
            assert_eq!(TokenHash::parse(bad), Err(TokenHashError::Shape), "{bad}");
        }
        let wide = format!("sha256:{}", "ü".repeat(32));
        assert_eq!(TokenHash::parse(&wide), Err(TokenHashError::Shape));
    }

    #[test]
    fn only_the_holder_is_known_and_only_in_time() {
        let now: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let tokens = Tokens(vec![
            token("a", "one", None),
            token("b", "two", Some("2026-12-01T00:00:01Z")),
            token("c", "three", Some("2026-12-01T00:00:00Z")),
        ]);
        let name = |secret: &str| {
            tokens
                .holder(secret.as_bytes(), now)
                .map(|token| token.name.as_str())
        };
        assert_eq!(name("one"), Ok("a"));
        assert_eq!(name("two"), Ok("b"));
        assert_eq!(name("three"), Err(TokenError::Expired(now)));
        for wrong in ["", "On", "onee", "ONE"] {
            assert_eq!(name(wrong), Err(TokenError::Unknown));
        }
        assert!(!format!("{tokens:?}").contains("ba78"), "{tokens:?}");
    }

    #[test]
    fn roles_are_in_order() {
        assert!(Role::WORDS.is_sorted_by(|a, b| a.1 < b.1));
        assert!(Role::WORDS.iter().all(|(word, role)| *word == role.as_str()));
    }
}
