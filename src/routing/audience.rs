//! Compiled audiences.
#![allow(missing_docs, reason = "placeholder until the compiled form lands")]
use crate::domain::audience::Attributes;
#[derive(Debug)]
pub struct CompiledAudience(String);
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AudienceError(pub String);
impl CompiledAudience {
    pub fn compile(source: &str) -> Result<Self, AudienceError> {
        Ok(Self(source.to_owned()))
    }
    pub fn matches(&self, _: &Attributes<'_>) -> Result<bool, AudienceError> {
        Ok(true)
    }
    pub fn source(&self) -> &str {
        &self.0
    }
}
