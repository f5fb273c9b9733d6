//! Calls of the control plane that were not let in.

use prometheus::{IntCounterVec, Opts, Registry};

/// Why a call was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It had no token.
    Missing,
    /// Its token is nobody's.
    Unknown,
    /// Its token was good once.
    Expired,
    /// Its token's role is too low.
    Forbidden,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::Missing, Self::Unknown, Self::Expired, Self::Forbidden];

    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
        }
    }
}

/// Counts refusals by their reason.
#[derive(Debug)]
pub(super) struct Refusals(IntCounterVec);

impl Refusals {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Calls of the control plane that were not let in, by what was wrong with their token.";
        let refusals = IntCounterVec::new(Opts::new("serin_auth_refusals_total", help), &["reason"])?;
        // All are there from the start, or the first one would be no increase.
        for refusal in Refusal::ALL {
            refusals.with_label_values(&[refusal.as_str()]);
        }
        registry.register(Box::new(refusals.clone()))?;
        Ok(Self(refusals))
    }

    pub(super) fn count(&self, refusal: Refusal) {
        self.0.with_label_values(&[refusal.as_str()]).inc();
    }
}
