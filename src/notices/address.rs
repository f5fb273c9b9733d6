//! Where an endpoint is.

use hyper::Uri;

/// The longest address.
const MOST_BYTES: usize = 2_048;

/// An address with http or https. It is never logged: the path of a webhook is often a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Uri);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://…", self.0.scheme_str().unwrap_or_default())
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Something else.
    #[error("is not a URL such as https://example.org/hook, of at most {MOST_BYTES} bytes")]
    Unreadable,
    /// Another protocol.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// A name and a password, which would be sent to nobody.
    #[error("must have no name or password in it; a receiver checks the signature instead")]
    Credentials,
    /// More than a place.
    #[error("must have no `?` in it: the path of Alertmanager's API is put at its end")]
    Query,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > MOST_BYTES || text.contains('#') {
            return Err(AddressError::Unreadable);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Unreadable)?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(AddressError::Scheme),
            None if text.contains("://") => return Err(AddressError::Unreadable),
            None => return Err(AddressError::Scheme),
        }
        let authority = uri.authority().ok_or(AddressError::Unreadable)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::Credentials);
        }
        if authority.host().is_empty() {
            return Err(AddressError::Unreadable);
        }
        Ok(Self(uri))
    }

    /// The address of a path below this one.
    ///
    /// # Errors
    /// [`AddressError::Query`] when there is no below.
    pub fn below(&self, path: &str) -> Result<Self, AddressError> {
        if self.0.query().is_some() {
            return Err(AddressError::Query);
        }
        Self::parse(&format!("{}{path}", self.0.to_string().trim_end_matches('/')))
    }

    /// Whether the way there is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: AddressError) {
        assert_eq!(Address::parse(text).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn only_places_are_addresses() {
        for text in ["", "/hook", "ftp://h/x", "example.org/hook", "mailto:a"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        refused("ftp://h/x", AddressError::Scheme);
        refused("http://", AddressError::Unreadable);
        refused("http://u:p@h/x", AddressError::Credentials);
        refused("http://h/x#y", AddressError::Unreadable);
        refused(
            &format!("http://h/{}", "x".repeat(MOST_BYTES)),
            AddressError::Unreadable,
        );
    }

    #[test]
    fn a_path_goes_below_an_address() {
        let below = |text: &str| Address::parse(text).unwrap().below("/api/v2/alerts");
        for base in ["http://am:9093", "http://am:9093/"] {
            assert_eq!(below(base).unwrap().0, "http://am:9093/api/v2/alerts", "{base}");
        }
        assert_eq!(below("https://h/am/").unwrap().0, "https://h/am/api/v2/alerts");
        assert_eq!(below("http://am:9093/?a=b").unwrap_err(), AddressError::Query);
        let address = Address::parse("https://example.org/s3cr3t").unwrap();
        assert!(address.is_https() && format!("{address:?}") == "https://…");
    }
}
