//! One exposure list and one outcome: into which pieces they go, and which of them already have it.

use super::{Dirtied, ExperimentCounts, SAMPLE_IN_PARTS, Stored, part_bit, shard_mut};
use crate::{
    collector::{
        arm_counts::ArmCounts,
        guard::Guard,
        intake::ExperimentIntake,
        keyed::KeyMap,
        minutes::{ArmHour, ChunkKey, Growing, Moment},
        observation::Observation,
        row_key::{Piece, RowKey, WHOLE_SAMPLE},
        series::Series,
        units::UnitSample,
    },
    domain::{
        id::{ArmIndex, Epoch, ExperimentKey, MetricKey},
        metric::{BUILT_IN, MetricKind},
        segment::Segment,
    },
};
use std::sync::Arc;

/// What one outcome changed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutcomeChange {
    pub(super) evidence: bool,
    pub(super) absolute: bool,
    pub(super) settling: bool,
}

/// How one value is counted.
#[derive(Debug, Clone, Copy, Default)]
struct Counting {
    cap: Option<f64>,
    quantiles: bool,
    covariate: Option<f64>,
    guarded: bool,
    /// Attributes by which it is counted once more.
    segments: usize,
}

impl Stored {
    fn change(&mut self, became_dirty: impl FnOnce()) {
        if !std::mem::replace(&mut self.dirty, true) {
            became_dirty();
        }
    }
}

impl ExperimentCounts {
    pub(super) fn expose(
        &mut self,
        (seq, now, moment): (u64, u32, Moment),
        (experiment, epoch, arm): (ExperimentKey, Epoch, ArmIndex),
        units: &mut dyn Iterator<Item = u64>,
        dirty: &mut Dirtied,
    ) {
        let shard = shard_mut(&mut self.shards, epoch, arm);
        let counts = Arc::make_mut(&mut shard.counts);
        let key = |piece| RowKey {
            experiment,
            epoch,
            arm,
            piece,
        };
        let known = seq <= shard.counters.through;
        let mut requests: u32 = 0;
        for unit in units {
            requests = requests.saturating_add(1);
            let sampled = if known {
                counts.exposures.units.insert(unit)
            } else {
                counts.reporting.request(now, unit);
                counts.exposures.add(unit)
            };
            if sampled {
                let part = if counts.exposures.units.len() < SAMPLE_IN_PARTS {
                    WHOLE_SAMPLE
                } else {
                    UnitSample::part(unit)
                };
                if shard.dirty_parts & part_bit(part) == 0 {
                    shard.dirty_parts |= part_bit(part);
                    dirty.rows.push(key(Piece::Units(part)));
                }
            }
        }
        if !known {
            shard.counters.change(|| dirty.rows.push(key(Piece::Counters)));
        }
        if requests > 0 {
            let series = Series::Requests;
            let key = ChunkKey {
                experiment,
                epoch,
                arm,
                series,
                hour: moment.hour,
            };
            let growing = &mut shard.hours.at(moment.hour).requests;
            grow(growing, seq, key, dirty, |growing| {
                growing.chunk.add(moment.minute, requests, 0.0);
            });
        }
    }

    #[inline]
    pub(super) fn count(
        &mut self,
        (seq, now, moment): (u64, u32, Moment),
        outcome: &Observation,
        design: Option<&ExperimentIntake>,
        dirty: &mut Dirtied,
    ) -> OutcomeChange {
        let shard = shard_mut(&mut self.shards, outcome.epoch, outcome.arm);
        let hour = shard.hours.at(moment.hour);
        let key = chunk(outcome, Series::Outcomes, moment);
        grow(&mut hour.outcomes, seq, key, dirty, |growing| {
            growing.chunk.add(moment.minute, 1, 0.0);
        });
        let mut pieces = Pieces {
            at: (seq, now, moment),
            outcome,
            counts: Arc::make_mut(&mut shard.counts),
            cells: &mut shard.cells,
            segment_cells: &mut shard.segment_cells,
            hour,
            guard: self.guard.as_mut(),
            dirty,
            change: OutcomeChange::default(),
        };
        if seq > shard.counters.through {
            pieces.counts.accepted += 1;
            let reporting = &mut pieces.counts.reporting;
            if !outcome.again {
                let receipt = outcome.receipt.is_some();
                reporting.report(now, outcome.second, outcome.unit_hash, receipt);
            }
            reporting.heard(now);
            shard
                .counters
                .change(|| pieces.dirty.rows.push(row(outcome, Piece::Counters)));
        }
        let segments = design.map_or(0, |design| design.experiment().segments.len());
        for (metric, value) in outcome.values.iter() {
            let Some(counted) = design.and_then(|design| design.metric(metric)) else {
                // The design has moved on since the outcome was taken, or there never was one; it still counts as
                // what it was.
                let counting = Counting {
                    quantiles: is_number_of_deployed(outcome.experiment, metric),
                    ..Counting::default()
                };
                pieces.count(metric, value, counting);
                continue;
            };
            let covariate = counted
                .covariate
                .and_then(|place| outcome.covariates.0.get(place));
            let counting = Counting {
                cap: counted.cap,
                quantiles: counted.quantiles,
                covariate: covariate.copied().flatten().map(f64::from),
                guarded: counted.guarded.is_some(),
                segments,
            };
            pieces.count(metric, value, counting);
            for rate in &counted.derived {
                let counting = Counting {
                    guarded: rate.guarded.is_some(),
                    ..Counting::default()
                };
                pieces.count(rate.key, f64::from(u8::from(value > rate.limit)), counting);
            }
        }
        pieces.change
    }
}

/// Everything that the values of one outcome may go into.
struct Pieces<'a> {
    /// Number, second and minute of the entry.
    at: (u64, u32, Moment),
    outcome: &'a Observation,
    counts: &'a mut ArmCounts,
    cells: &'a mut Vec<Stored>,
    segment_cells: &'a mut KeyMap<(MetricKey, Segment), Stored>,
    hour: &'a mut ArmHour,
    guard: Option<&'a mut Guard>,
    dirty: &'a mut Dirtied,
    change: OutcomeChange,
}

impl Pieces<'_> {
    #[inline]
    fn count(&mut self, metric: MetricKey, value: f64, counting: Counting) {
        let Self {
            at: (seq, now, moment),
            outcome,
            counts,
            dirty,
            ..
        } = self;
        let (seq, outcome) = (*seq, *outcome);
        let place = counts.place(metric);
        if place >= self.cells.len() {
            self.cells.resize(place + 1, Stored::default());
        }
        let stored = &mut self.cells[place];
        if seq > stored.through {
            let cell = &mut counts.cells[place].1;
            cell.add(outcome.unit_hash, value, counting.cap);
            if counting.quantiles {
                cell.add_to_sketch(value);
            }
            if let Some(covariate) = counting.covariate {
                cell.add_covariate(outcome.unit_hash, covariate);
            }
            stored.change(|| dirty.rows.push(row(outcome, Piece::Cell(metric))));
        }
        for segment in outcome.segments.segments(counting.segments) {
            let stored = self.segment_cells.entry((metric, segment)).or_default();
            if seq > stored.through {
                let cell = counts.segment_cells.cell_mut(metric, segment);
                cell.add(outcome.unit_hash, value, counting.cap);
                stored.change(|| dirty.rows.push(row(outcome, Piece::SegmentCell(metric, segment))));
            }
        }
        let key = chunk(outcome, Series::Metric(metric), *moment);
        grow(self.hour.metric(place), seq, key, dirty, |growing| {
            let clipped = counting.cap.map_or(value, |cap| value.min(cap));
            growing.chunk.add(moment.minute, 1, clipped);
            if counting.quantiles {
                growing.chunk.add_to_sketch(value);
            }
        });
        if let Some(guard) = self.guard.as_mut().filter(|_| counting.guarded) {
            let changed = guard.count(metric, outcome, value > 0.0, (seq, *now), || {
                let key = row(outcome, Piece::Guard(metric));
                let epoch = Epoch(0);
                dirty.rows.push(RowKey { epoch, ..key });
            });
            self.change.evidence |= changed.bad_unit;
            self.change.absolute |= changed.outcome;
            self.change.settling |= changed.due.is_some();
        }
    }
}

impl ArmHour {
    /// The chunk of a series, when there can be one.
    pub(super) fn series(&self, series: Series, place: Option<usize>) -> Option<&Growing> {
        match series {
            Series::Requests => Some(&self.requests),
            Series::Outcomes => Some(&self.outcomes),
            Series::Metric(_) => self.metrics().get(place?),
        }
    }
}

/// Counts an entry into a chunk that does not have it yet.
#[inline]
fn grow(growing: &mut Growing, seq: u64, key: ChunkKey, dirty: &mut Dirtied, add: impl FnOnce(&mut Growing)) {
    if seq > growing.stored.through {
        add(growing);
        growing.stored.change(|| dirty.chunks.push(key));
    }
}

fn row(outcome: &Observation, piece: Piece) -> RowKey {
    RowKey {
        experiment: outcome.experiment,
        epoch: outcome.epoch,
        arm: outcome.arm,
        piece,
    }
}

fn chunk(outcome: &Observation, series: Series, moment: Moment) -> ChunkKey {
    ChunkKey {
        experiment: outcome.experiment,
        epoch: outcome.epoch,
        arm: outcome.arm,
        series,
        hour: moment.hour,
    }
}

/// Whether a metric of a deployed version is a number. Such versions have no design, so they have the built-in
/// metrics only, whose keys are their places in the list.
fn is_number_of_deployed(experiment: ExperimentKey, metric: MetricKey) -> bool {
    let built_in = BUILT_IN.get(usize::from(metric.0));
    experiment.deployed_prompt().is_some() && built_in.is_some_and(|(_, kind, _)| *kind == MetricKind::Mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collector::{intake::Intake, state::Counts},
        domain::{
            Timestamp,
            experiment::{Experiment, ExperimentSpec, State},
            id::{AttributeName, Revision},
            metric::Covariates,
            segment::{SegmentAttribute, SegmentCodes},
        },
        routing::receipt::ReceiptKeys,
    };
    use std::{collections::HashSet, time::Duration};

    const KEY: ExperimentKey = ExperimentKey(3);
    const RESOLVED: MetricKey = MetricKey(0);
    const SECONDS: MetricKey = MetricKey(1);
    const MOMENT: Moment = Moment { hour: 9, minute: 30 };

    /// A rate, and a mean whose covariate is the second one; two attributes of segments.
    fn intake() -> Intake {
        let spec: ExperimentSpec = serde_json::from_value(serde_json::json!({
            "id": "e", "prompt": "p", "environment": "production", "kind": "experiment", "status": "running",
            "unit": "user", "traffic": 1.0, "variants": [],
            "metrics": [{"name": "resolved", "kind": "rate", "goal": "increase"},
                        {"name": "seconds", "kind": "mean", "goal": "decrease", "cap": 10.0, "covariate": "before"}],
        }))
        .unwrap();
        let covariates = ["other", "before"].map(|name| AttributeName::new(name).unwrap());
        let segment = |name: &str| SegmentAttribute {
            attribute: AttributeName::new(name).unwrap(),
            values: vec!["a".to_owned(), "b".to_owned()],
        };
        let mut next = 0;
        let measures = spec.measures(&covariates, |_| {
            next += 1;
            MetricKey(next - 1)
        });
        let experiment = Arc::new(Experiment {
            key: KEY,
            spec: Arc::new(spec),
            file: None,
            state: State::Running,
            arms: Vec::new(),
            measures,
            segments: ["plan", "country"].map(segment).to_vec(),
            covariates: covariates.to_vec(),
            epochs: Vec::new(),
            pinned: Vec::new(),
            started: None,
            freeze: None,
            hold: None,
            progress: None,
            conclusion: None,
            alerted: Vec::new(),
            evidence: None,
            created_at: Timestamp::UNIX_EPOCH,
            changed_at: Timestamp::UNIX_EPOCH,
            revision: Revision(1),
        });
        let day = Duration::from_secs(86_400);
        let experiments = std::iter::once(&experiment);
        Intake::compile(experiments, std::iter::empty(), ReceiptKeys::default(), day)
    }

    fn outcome(n: u16) -> Observation {
        Observation {
            experiment: KEY,
            epoch: Epoch(1),
            arm: ArmIndex(0),
            unit_hash: u64::from(n),
            second: 0,
            receipt: None,
            id: None,
            segments: SegmentCodes::default()
                .with(0, Some(usize::from(n % 2)))
                .with(1, n.is_multiple_of(5).then_some(0)),
            covariates: Covariates([
                n.is_multiple_of(3).then_some(99.0),
                n.is_multiple_of(4).then_some(1.5),
            ]),
            values: [(RESOLVED, 1.0), (SECONDS, f64::from(n))].into_iter().collect(),
            again: false,
            tagging: None,
        }
    }

    #[test]
    fn covariates_and_segments_go_where_the_design_says_and_come_back() {
        let intake = intake();
        let design = intake.experiment(KEY);
        let mut counts = Counts::default();
        let mut dirty = Dirtied::default();
        for n in 0..40 {
            let of_experiment = counts.experiments.entry(KEY).or_default();
            let at = (1 + u64::from(n), 0, MOMENT);
            of_experiment.count(at, &outcome(n), design, &mut dirty);
        }
        let arm = counts.arms(KEY)[0].1.clone();
        let cell = arm.cell(SECONDS).unwrap();
        assert_eq!(cell.covariate.as_ref().unwrap().total(), (10.0, 15.0));
        let sketch = cell.sketch.as_ref().unwrap();
        assert_eq!((sketch.count(), sketch.max(), cell.clipped), (40, Some(39.0), 29));
        let rate = arm.cell(RESOLVED).unwrap();
        assert_eq!((&rate.covariate, &rate.sketch), (&None, &None));
        // The place of the attribute in the upper bits, the code of the value in the lower four.
        for metric in [RESOLVED, SECONDS] {
            let n = |segment| arm.segment_cell(metric, Segment(segment)).map(|cell| cell.n);
            let expected = [Some(20), Some(20), None, Some(8), Some(32), None];
            assert_eq!([0, 1, 15, 16, 16 + 14, 32].map(n), expected);
            let plain = arm.segment_cell(metric, Segment(0)).unwrap();
            assert_eq!((&plain.covariate, &plain.sketch), (&None, &None));
        }
        // Each piece waits to be stored once, and comes back from its row.
        let distinct: HashSet<_> = dirty.rows.iter().copied().collect();
        assert_eq!((dirty.rows.len(), distinct.len()), (1 + 2 + 2 * 4, 1 + 2 + 2 * 4));
        assert_eq!(dirty.chunks.len(), 3);
        let mut back = Counts::default();
        for key in &dirty.rows {
            back.restore(&counts.encode(*key, 20).unwrap()).unwrap();
        }
        assert_eq!(back.arms(KEY)[0].1, arm);
        // What a row covers is not counted again; what it does not is.
        for n in [5, 25] {
            let of_experiment = back.experiments.entry(KEY).or_default();
            let at = (u64::from(n), 0, MOMENT);
            of_experiment.count(at, &outcome(n), design, &mut dirty);
        }
        let again = &back.arms(KEY)[0].1;
        let n = |segment| again.segment_cell(SECONDS, Segment(segment)).unwrap().n;
        let whole = again.cell(SECONDS).unwrap().n;
        assert_eq!((whole, n(0), n(1), n(16)), (41, 20, 21, 9));
    }
}
