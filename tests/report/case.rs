//! An experiment and counts made by hand.

use crate::support::{World, now};
use serde_json::{Value as Json, json};
use serin::{
    collector::{arm_counts::ArmCounts, cells::Cell},
    domain::{
        experiment::Experiment,
        id::{ArmIndex, Epoch, Revision},
    },
    report::{Figure, Report, VariantFigures, VersusControl, report},
    routing::hash::mix,
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) fn design(weights: [u32; 2]) -> Json {
    json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "experiment", "status": "running",
        "unit": "user", "traffic": 1.0, "min_units": 30,
        "variants": [
            {"name": "control", "version": "1.0.0", "weight": weights[0]},
            {"name": "friendly", "version": "1.1.0", "weight": weights[1]},
        ],
        "metrics": [
            {"name": "resolved", "kind": "rate", "goal": "increase", "primary": true},
            {"name": "minutes", "kind": "mean", "goal": "decrease"},
        ],
    })
}

/// An experiment in its first epoch, and what was counted for it.
pub(crate) struct Case {
    pub(crate) world: World,
    pub(crate) counts: BTreeMap<(Epoch, ArmIndex), ArmCounts>,
}

impl Case {
    pub(crate) fn new() -> Self {
        Self::of(design([50, 50]))
    }

    pub(crate) fn of(design: Json) -> Self {
        Self {
            world: World::with(&[design]),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn experiment(&self) -> Arc<Experiment> {
        Arc::clone(&self.world.plane.view().catalog.experiments["e"])
    }

    pub(crate) fn arm(&mut self, arm: u8) -> &mut ArmCounts {
        let epoch = self.experiment().epoch();
        self.counts.entry((epoch, ArmIndex(arm))).or_default()
    }

    /// One value per unit; unit n is in bucket n.
    pub(crate) fn values(
        &mut self,
        arm: u8,
        metric: &str,
        values: impl IntoIterator<Item = f64>,
    ) -> &mut Self {
        let key = self.experiment().measure(metric).unwrap().key;
        let counts = self.arm(arm);
        if counts.cell(key).is_none() {
            counts.cells.push((key, Cell::default()));
        }
        let cell = &mut counts
            .cells
            .iter_mut()
            .find(|(other, _)| *other == key)
            .unwrap()
            .1;
        for (unit, value) in (0..).zip(values) {
            cell.add(unit, value, None);
            counts.accepted += 1;
        }
        self
    }

    /// `n` requests over that many units, the first of them with an event.
    pub(crate) fn rate(&mut self, arm: u8, events: usize, n: usize) -> &mut Self {
        // Spread over the buckets, so that events and others share them.
        let of = |unit: usize| f64::from(u8::from(unit * events / n != (unit + 1) * events / n));
        self.values(arm, "resolved", (0..n).map(of))
    }

    pub(crate) fn units(&mut self, arm: u8, units: std::ops::Range<u64>) -> &mut Self {
        let counts = self.arm(arm);
        units.for_each(|unit| {
            counts.exposures.add(mix(unit + 1));
        });
        self
    }

    pub(crate) fn report(&self) -> Report {
        let counts: Vec<_> = self
            .counts
            .iter()
            .map(|(key, counts)| (*key, Arc::new(counts.clone())))
            .collect();
        report(&self.experiment(), &counts, Vec::new(), Revision(17), now())
    }

    pub(crate) fn figures(&self, metric: &str, variant: &str) -> VariantFigures {
        let report = self.report();
        let metric = report
            .metrics
            .iter()
            .find(|found| found.metric == metric)
            .unwrap();
        let found = metric
            .variants
            .iter()
            .find(|found| found.variant.as_str() == variant);
        found.unwrap().clone()
    }

    pub(crate) fn versus(&self, metric: &str) -> VersusControl {
        self.figures(metric, "friendly").vs_control.unwrap()
    }
}

pub(crate) fn close(figure: &Figure<f64>, expected: f64) {
    let value = figure
        .known()
        .unwrap_or_else(|| panic!("{figure:?}, expected {expected}"));
    assert!(
        (value - expected).abs() < 1e-5 * expected.abs().max(1e-3),
        "{value} is not {expected}"
    );
}

pub(crate) fn near(figure: &Figure<(f64, f64)>, low: f64, high: f64) {
    let (l, h) = figure.known().unwrap_or_else(|| panic!("{figure:?}"));
    assert!(
        (l - low).abs() < 1e-4 && (h - high).abs() < 1e-4,
        "{l} {h} is not {low} {high}"
    );
}

pub(crate) fn reason<T: std::fmt::Debug>(figure: &Figure<T>) -> &str {
    match figure {
        Figure::Undefined(reason) => reason,
        Figure::Known(value) => panic!("{value:?} is known"),
    }
}
