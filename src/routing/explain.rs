//! The same walk with a recording observer: why did this unit get this version?

use super::table::RoutedExperiment;
use serde::Serialize;

/// What a step of the walk looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Is the unit forced to a variant?
    Override,
    /// Has the experiment begun?
    Started,
    /// Do the attributes fit the audience?
    Audience,
    /// Is there a unit id?
    Unit,
    /// Is the unit in the layer's slots?
    Layer,
    /// Is the unit free of the holdout?
    Holdout,
    /// Is the unit enrolled?
    Traffic,
    /// Is the experiment frozen?
    Frozen,
    /// Does a receipt keep its version after the freeze?
    Drain,
    /// Which variant was drawn?
    Variant,
}

/// Is told every step of a walk. The silent one makes decisions fast, the recording one explains them.
pub trait Observer {
    /// `passed` says whether the walk goes on inside the experiment; `detail` is only called by observers that show it.
    fn step(
        &mut self,
        experiment: &RoutedExperiment,
        check: Check,
        passed: bool,
        detail: &dyn Fn() -> String,
    );
}

/// Says nothing and costs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    #[inline(always)]
    fn step(&mut self, _: &RoutedExperiment, _: Check, _: bool, _: &dyn Fn() -> String) {}
}

/// One step, as answers show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The experiment.
    pub experiment: String,
    /// What was looked at.
    pub check: Check,
    /// Whether the walk went on inside the experiment.
    pub passed: bool,
    /// In words.
    pub detail: String,
}

/// Keeps every step.
#[derive(Debug, Default)]
pub struct Recorder {
    /// In order of the walk.
    pub steps: Vec<Step>,
}

impl Observer for Recorder {
    fn step(
        &mut self,
        experiment: &RoutedExperiment,
        check: Check,
        passed: bool,
        detail: &dyn Fn() -> String,
    ) {
        self.steps.push(Step {
            experiment: experiment.id.to_string(),
            check,
            passed,
            detail: detail(),
        });
    }
}
