//! Placeholder until the module of this name is merged.
#![allow(missing_docs, reason = "replaced at the merge")]
use super::Undefined;
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    pub chance_to_beat: f64,
    pub risk_treatment: f64,
    pub risk_control: f64,
    pub ci: (f64, f64),
}
pub fn effect(difference: f64, se: f64, _alpha: f64) -> Result<Posterior, Undefined> {
    if se == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    Ok(Posterior {
        chance_to_beat: super::distribution::normal_cdf(difference / se),
        risk_treatment: 0.0,
        risk_control: 0.0,
        ci: (0.0, 0.0),
    })
}
