//! Placeholder until the module of this name is merged.
#![allow(missing_docs, reason = "replaced at the merge")]
use super::Undefined;
pub fn holm(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    Ok(p.to_vec())
}
pub fn benjamini_hochberg(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    Ok(p.to_vec())
}
pub fn e_benjamini_hochberg(log_e: &[f64]) -> Result<Vec<f64>, Undefined> {
    Ok(log_e.iter().map(|l| (-l).exp().min(1.0)).collect())
}
