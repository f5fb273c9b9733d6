//! Placeholder until the module of this name is merged.
#![allow(missing_docs, reason = "replaced at the merge")]
use super::Undefined;
pub fn detectable_always_valid(se: f64, _tau: f64, _alpha: f64, _power: f64) -> Result<f64, Undefined> {
    Ok(3.9 * se)
}
pub fn time_left_always_valid(
    se: f64,
    tau: f64,
    effect: f64,
    observed: f64,
    _alpha: f64,
    _power: f64,
) -> Result<f64, Undefined> {
    Ok((observed * ((3.9 * se / effect.min(tau)).powi(2) - 1.0)).max(0.0))
}
