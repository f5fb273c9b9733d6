//! How likely is treatment the better one, and what does choosing wrongly cost?
//!
//! Owns the posterior of a difference and of two rates. It takes no decision and is not protected against
//! looking early: a chance to beat control that was seen once proves less than it says. Called by a report,
//! beside the always-valid figures and never instead of them.
//!
//! [`effect`] is what a report shows: it takes a difference with its cluster-robust standard error.
//! [`gaussian_effect`] adds a prior on the lift. [`beta_binomial`] is exact for rates of independent units;
//! on requests of returning units it inherits the error of counting them as independent.

mod beta;
mod effect;
mod quadrature;
mod rates;

pub use beta::Beta;
pub use effect::{NormalPrior, Posterior, Scale, effect, gaussian_effect};
pub use rates::{RatePosterior, Rates, beta_binomial};
