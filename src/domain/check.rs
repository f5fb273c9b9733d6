//! placeholder
use super::{experiment::ExperimentSpec, problem::Problem, prompt::PromptDraft};
/// x
pub fn problems(_: &ExperimentSpec) -> Vec<Problem> {
    Vec::new()
}
/// x
pub fn draft_problems(_: &PromptDraft) -> Vec<Problem> {
    Vec::new()
}
