//! Rates of independent units: how many of them had an event.
//!
//! Owns the tests and intervals of one rate and of two. They assume one row per unit: on requests of returning
//! units they cry wolf, and those belong in [`cluster`](super::cluster). Nothing here knows where the counts
//! come from. Called by a report for shares of distinct units.
//!
//! [`Proportion`] is one arm. [`wilson`] is its interval; [`newcombe`], [`agresti_caffo`] and [`wald`] are
//! those of the difference of two; [`katz`] and [`delta_lift`] relative to control; [`cohens_h`] a size that
//! means the same at every rate. [`two_proportion_z`] and [`fisher_exact`] test whether there is a difference.

mod exact;
mod interval;
mod relative;
mod test;

pub use exact::{LARGEST_TABLE, fisher_exact};
pub use interval::{agresti_caffo, newcombe, unpooled_se, wald, wilson};
pub use relative::{cohens_h, delta_lift, katz, lift, log_ratio_se};
pub use test::{ZTest, two_proportion_z};

use super::Undefined;

/// One arm: how many of its independent units had an event.
///
/// ```
/// use serin::stats::proportion::Proportion;
/// let arm = Proportion::new(3, 12)?;
/// assert_eq!((arm.events(), arm.n(), arm.rate()), (3, 12, 0.25));
/// assert!(Proportion::new(2, 1).is_err() && Proportion::new(0, 0).is_err());
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportion {
    events: u64,
    n: u64,
}

impl Proportion {
    /// `events` out of `n` units.
    ///
    /// # Errors
    /// [`Undefined::InsufficientData`] for `n` = 0, [`Undefined::OutOfDomain`] for more events than units.
    pub fn new(events: u64, n: u64) -> Result<Proportion, Undefined> {
        if n == 0 {
            return Err(Undefined::InsufficientData {
                what: "units",
                have: 0.0,
                needed: 1.0,
            });
        }
        check_events(events, n)?;
        Ok(Proportion { events, n })
    }

    /// How many units had an event.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many units there are; at least 1.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Events per unit, in [0, 1].
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.n as f64
    }

    /// One minus the rate, with all digits when the rate is close to 1.
    fn complement(&self) -> f64 {
        (self.n - self.events) as f64 / self.n as f64
    }
}

/// The difference of two rates p_B − p_A, in [−1, 1].
///
/// Taken over the common denominator in whole numbers, so it keeps its digits however close the rates are,
/// and is exactly 0 when they are equal. 1 of 3 and 2 of 5: 1/15.
///
/// ```
/// use serin::stats::proportion::{Proportion, difference};
/// let seen = difference(&Proportion::new(1, 3)?, &Proportion::new(2, 5)?);
/// assert!((seen - 1.0 / 15.0).abs() < 1e-17);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn difference(control: &Proportion, treatment: &Proportion) -> f64 {
    crossed(control, treatment) / (control.n as f64 * treatment.n as f64)
}

/// x_B·n_A − x_A·n_B, rounded once.
fn crossed(control: &Proportion, treatment: &Proportion) -> f64 {
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let (b, a) = (
        product(treatment.events, control.n),
        product(control.events, treatment.n),
    );
    if b < a { -((a - b) as f64) } else { (b - a) as f64 }
}

/// Refuses more events than units; also for callers that have a use for no units at all.
pub(super) fn check_events(events: u64, n: u64) -> Result<(), Undefined> {
    if events <= n {
        return Ok(());
    }
    let (what, domain) = ("events", "at most the number of units");
    Err(Undefined::OutOfDomain {
        what,
        value: events as f64,
        domain,
    })
}
