//! Signatures: how a receiver knows that a message is Serin's, and not an old one sent again.
//!
//! `Serin-Signature: t=1764547200,v1=<hex>` has the second of the attempt and, for each secret, the HMAC-SHA256 of
//! `<second>.<body>`. With two secrets there are two `v1`, so that a receiver can change over in its own time.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::{fmt::Write as _, fs, path::PathBuf};

/// The fewest bytes of a secret.
pub const LEAST_BYTES: usize = 16;
/// The most bytes of a secret.
pub const MOST_BYTES: usize = 256;
/// The most secrets of one webhook: the present one and the next.
pub const MOST_SECRETS: usize = 2;

/// Why a secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too easy to guess, or a mistake.
    #[error("must have {LEAST_BYTES} to {MOST_BYTES} bytes, found {0}")]
    Length(usize),
    /// Its file cannot be read.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// What a sender and a receiver share. Never shown.
#[derive(Clone)]
pub struct Secret {
    text: String,
    keyed: Hmac<Sha256>,
}

impl Secret {
    /// Takes the bytes of a text as they are.
    ///
    /// # Errors
    /// [`SecretError::Length`].
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let length = || SecretError::Length(text.len());
        if !(LEAST_BYTES..=MOST_BYTES).contains(&text.len()) {
            return Err(length());
        }
        Ok(Self {
            text: text.to_owned(),
            keyed: Hmac::new_from_slice(text.as_bytes()).map_err(|_| length())?,
        })
    }

    /// The signature of a body at a second, in hexadecimal digits.
    fn sign(&self, second: i64, body: &[u8]) -> String {
        let mut mac = self.keyed.clone();
        mac.update(second.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the secrets of a webhook are.
#[derive(Debug, Clone, PartialEq)]
pub enum Secrets {
    /// In the settings.
    Given(Vec<Secret>),
    /// In files, one each; spaces and line ends around a secret do not count.
    Files(Vec<PathBuf>),
}

impl Secrets {
    /// The secrets themselves.
    ///
    /// # Errors
    /// [`SecretError`] when a file cannot be read or has no secret in it.
    pub fn load(&self) -> Result<Vec<Secret>, SecretError> {
        match self {
            Self::Given(secrets) => Ok(secrets.clone()),
            Self::Files(paths) => paths.iter().map(read).collect(),
        }
    }
}

fn read(path: &PathBuf) -> Result<Secret, SecretError> {
    let problem = |problem: String| SecretError::File {
        path: path.clone(),
        problem,
    };
    let text = fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    Secret::new(text.trim()).map_err(|error| problem(error.to_string()))
}

/// The value of the header: the second of the attempt, and one signature for each secret.
#[must_use]
pub fn header(secrets: &[Secret], second: i64, body: &[u8]) -> String {
    secrets.iter().fold(format!("t={second}"), |mut header, secret| {
        let _ = write!(header, ",v1={}", secret.sign(second, body));
        header
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` and with `openssl dgst -sha256 -hmac`, as the README shows it.
    const WORKED: &str = "1f17e2cf262a39fdf8bb5ae069d1a3029b25656c59de9855d15451d5f15d54e9";

    #[test]
    fn a_signature_is_what_anybody_can_compute() {
        let secret = Secret::new("a secret of on-call").unwrap();
        let body = br#"{"id":"17","transition":"frozen"}"#;
        assert_eq!(
            header(std::slice::from_ref(&secret), 1_764_547_200, body),
            format!("t=1764547200,v1={WORKED}")
        );
        let next = Secret::new("the secret after it").unwrap();
        let both = header(&[next, secret], 1_764_547_200, body);
        assert_eq!(both.matches(",v1=").count(), 2);
        assert!(both.ends_with(WORKED), "{both}");
    }

    #[test]
    fn short_secrets_are_refused_and_none_is_shown() {
        assert_eq!(
            Secret::new("fifteen bytes !").unwrap_err(),
            SecretError::Length(15)
        );
        assert_eq!(
            Secret::new(&"x".repeat(257)).unwrap_err(),
            SecretError::Length(257)
        );
        let secret = Secret::new("sixteen bytes !!").unwrap();
        assert_eq!(
            format!("{:?}", Secrets::Given(vec![secret])),
            "Given([Secret(…)])"
        );
    }

    #[test]
    fn a_file_has_a_secret_and_a_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "sixteen bytes !!\n").unwrap();
        let files = Secrets::Files(vec![path.clone()]);
        assert_eq!(files.load().unwrap(), [Secret::new("sixteen bytes !!").unwrap()]);
        fs::write(&path, "short\n").unwrap();
        let refused = files.load().unwrap_err().to_string();
        assert!(
            refused.ends_with("must have 16 to 256 bytes, found 5"),
            "{refused}"
        );
        let missing = Secrets::Files(vec![folder.path().join("missing")]).load();
        assert!(matches!(missing, Err(SecretError::File { .. })));
    }
}
