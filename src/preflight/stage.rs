//! One stage of a rollout: what its guardrails find, and how long it takes until it may end.

use super::{Assumptions, GuardrailForecast, Harm, LOW_RATE, POWER, RULED_OUT_ALPHA, Source, StageForecast};
use crate::{
    domain::{
        experiment::{ExperimentKind, ExperimentSpec, RESTART_BLOCKS, Variant},
        guardrail::{ALPHA, GuardrailSpec, LEAST_BAD_UNITS, Limit, MARGIN, OnBreach},
        id::VariantName,
        rollout::Stage,
    },
    stats::{
        evidence::{self, DEFAULT_POINTS, LARGEST_RATIO, OddsGrid},
        power::{
            harm::{
                Firing, StageTraffic, bad_unit_rate, outcomes_to_find, smallest_rate, smallest_ratio,
                units_to_find,
            },
            progress::wald_bound,
        },
    },
};
use std::time::Duration;

/// Where the grid of an absolute limit begins, as in the guardrail itself.
const ABSOLUTE_GRID_FROM: f64 = 1.25;
/// The harm whose price is told besides.
const DOUBLE: f64 = 2.0;

/// The design and the evidence that has come together in the stages before.
pub(super) struct Judge<'a> {
    spec: &'a ExperimentSpec,
    assumed: &'a Assumptions,
    control: &'a Variant,
    candidate: &'a Variant,
    log_threshold: f64,
    /// For each guardrail, how much of the evidence that harm is ruled out there is: against the margin, and against
    /// the low rate.
    ruled_out: Vec<(f64, f64)>,
}

/// What flows in a stage, per second.
#[derive(Clone, Copy)]
struct Flow {
    candidate: f64,
    control: f64,
}

impl<'a> Judge<'a> {
    pub(super) fn new(spec: &'a ExperimentSpec, assumed: &'a Assumptions) -> Option<Self> {
        let (control, candidates) = spec.variants.split_first()?;
        let candidate = match spec.kind {
            ExperimentKind::Canary => candidates.last(),
            ExperimentKind::Experiment => {
                let lightest = |a: &&Variant, b: &&Variant| a.weight.total_cmp(&b.weight);
                candidates.iter().min_by(lightest)
            }
        }?;
        Some(Self {
            spec,
            assumed,
            control,
            candidate,
            log_threshold: evidence::threshold(spec.guardrails.len(), ALPHA).unwrap_or(f64::INFINITY),
            ruled_out: vec![(0.0, 0.0); spec.guardrails.len()],
        })
    }

    pub(super) fn candidate(&self) -> &'a VariantName {
        &self.candidate.name
    }

    pub(super) fn stage(
        &mut self,
        index: usize,
        stage: &Stage,
        deadline: Duration,
        open: bool,
    ) -> StageForecast {
        let shares = self.shares(stage);
        let rps = self
            .assumed
            .traffic
            .map(|traffic| traffic.requests_per_second * traffic.reach);
        let flow = rps.map(|rps| Flow {
            candidate: rps * shares.candidate,
            control: rps * shares.control,
        });
        let for_s = stage.duration.as_secs_f64();
        let mut guardrails: Vec<GuardrailForecast> = (0..self.spec.guardrails.len())
            .filter_map(|index| self.guardrail(index, shares, flow, for_s))
            .collect();
        let min_outcomes_after_s = flow.map(|flow| {
            let slowest = flow.candidate.min(flow.control);
            if stage.min_outcomes == 0 {
                0.0
            } else {
                stage.min_outcomes as f64 / slowest
            }
        });
        let mut waits = vec![(for_s, "for".to_owned())];
        waits.extend(min_outcomes_after_s.map(|after| (after, "min_outcomes".to_owned())));
        let ruled_out = guardrails.iter();
        waits.extend(ruled_out.filter_map(|forecast| {
            // At the whole traffic there is no control to be compared with, and nothing to be ruled out by it.
            Some((forecast.ruled_out_after_s?, forecast.metric.clone()))
        }));
        let (expected, waits_for) = waits
            .into_iter()
            .reduce(|longest, next| if next.0 > longest.0 { next } else { longest })
            .unwrap_or((for_s, "for".to_owned()));
        if let Some(flow) = flow {
            self.carry(flow, expected);
        }
        // What cannot happen in any time has none.
        let known = |seconds: f64| seconds.is_finite().then_some(seconds);
        for forecast in &mut guardrails {
            forecast.ruled_out_after_s = forecast.ruled_out_after_s.and_then(known);
        }
        StageForecast {
            stage: index + 1,
            share: stage.share,
            candidate_share: shares.candidate / (shares.candidate + shares.control),
            for_s,
            open,
            deadline_s: deadline.as_secs_f64(),
            candidate_requests: flow.map(|flow| flow.candidate * for_s),
            control_requests: flow.map(|flow| flow.control * for_s),
            min_outcomes_after_s: min_outcomes_after_s.and_then(known),
            expected_s: flow.and_then(|_| known(expected)),
            waits_for: flow.map(|_| waits_for),
            guardrails,
        }
    }

    /// The shares of the audience that the two arms have in a stage.
    fn shares(&self, stage: &Stage) -> Flow {
        let sum: f64 = self.spec.variants.iter().map(|variant| variant.weight).sum();
        match self.spec.kind {
            ExperimentKind::Canary => {
                let others = sum - self.candidate.weight;
                Flow {
                    candidate: self.spec.traffic * stage.share,
                    control: self.spec.traffic * (1.0 - stage.share) * self.control.weight / others,
                }
            }
            ExperimentKind::Experiment => {
                let enrolled = self.spec.traffic * stage.share;
                Flow {
                    candidate: enrolled * self.candidate.weight / sum,
                    control: enrolled * self.control.weight / sum,
                }
            }
        }
    }

    fn base_rate(&self, guardrail: &GuardrailSpec) -> (f64, Source) {
        let seen = self.assumed.seen.get(&guardrail.measure_name()).copied();
        // A rate of nothing finds nothing; what was never bad yet is taken for what is assumed of others.
        match seen.filter(|rate| *rate > 0.0 && *rate < 1.0) {
            Some(rate) => (rate, Source::Seen),
            None => match (guardrail.limit, self.assumed.baseline_source) {
                // Nobody sets a limit that control exceeds already.
                (Limit::MaxRate(limit), Source::Assumed) => {
                    (self.assumed.baseline.min(0.5 * limit), Source::Assumed)
                }
                (_, source) => (self.assumed.baseline, source),
            },
        }
    }

    fn guardrail(
        &self,
        index: usize,
        shares: Flow,
        flow: Option<Flow>,
        for_s: f64,
    ) -> Option<GuardrailForecast> {
        let guardrail = &self.spec.guardrails[index];
        let (base_rate, base_rate_from) = self.base_rate(guardrail);
        let (limit, grid_from) = match guardrail.limit {
            Limit::MaxRatio(ratio) => ("max_ratio", ratio),
            Limit::MaxRate(_) => ("max_rate", ABSOLUTE_GRID_FROM),
            Limit::MaxExcess(_) => return None,
        };
        let firing = OddsGrid::new(grid_from, DEFAULT_POINTS).ok().map(|grid| Firing {
            grid,
            log_threshold: self.log_threshold,
            least_bad: LEAST_BAD_UNITS,
            blocks: RESTART_BLOCKS,
        });
        let finds = match (&firing, flow) {
            (Some(firing), Some(flow)) => self.finds(firing, guardrail.limit, base_rate, flow, for_s),
            _ => None,
        };
        let wanted = finds.is_none();
        let needs = |harm: Needed| {
            let firing = firing.as_ref().filter(|_| wanted)?;
            self.needs_rps(firing, guardrail.limit, base_rate, shares, for_s, harm)
        };
        Some(GuardrailForecast {
            metric: guardrail.measure_name(),
            limit,
            base_rate,
            base_rate_from,
            finds,
            blind: flow.is_some() && finds.is_none(),
            ruled_out_after_s: flow.and_then(|flow| self.ruled_out_after(index, base_rate, flow)),
            needs_rps: needs(Needed::Any),
            doubling_needs_rps: needs(Needed::Double),
        })
    }

    /// The smallest harm of the stage.
    fn finds(&self, firing: &Firing, limit: Limit, base_rate: f64, flow: Flow, for_s: f64) -> Option<Harm> {
        let per_unit = self.assumed.requests_per_unit;
        let found = match limit {
            Limit::MaxRatio(_) => {
                let traffic = StageTraffic {
                    candidate: flow.candidate * for_s / per_unit,
                    control: flow.control * for_s / per_unit,
                    requests_per_unit: per_unit,
                };
                let largest = LARGEST_RATIO.min(1.0 / base_rate);
                let ratio = smallest_ratio(firing, &traffic, base_rate, largest, POWER).ok()??;
                ratio * base_rate
            }
            Limit::MaxRate(limit) => smallest_rate(firing, flow.candidate * for_s, limit, POWER).ok()??,
            Limit::MaxExcess(_) => return None,
        };
        Some(Harm {
            ratio: found / base_rate,
            rate: found,
        })
    }

    /// The requests per second of the audience with which a harm is found.
    fn needs_rps(
        &self,
        firing: &Firing,
        limit: Limit,
        base_rate: f64,
        shares: Flow,
        for_s: f64,
        harm: Needed,
    ) -> Option<f64> {
        let reach = self.assumed.traffic.map_or(1.0, |traffic| traffic.reach);
        let requests = match limit {
            Limit::MaxRatio(_) => {
                let largest = LARGEST_RATIO.min(1.0 / base_rate);
                let ratio = match harm {
                    Needed::Any => largest,
                    Needed::Double => DOUBLE.min(largest),
                };
                let both = shares.candidate + shares.control;
                let share = shares.candidate / both;
                let per_unit = self.assumed.requests_per_unit;
                let units = units_to_find(firing, share, per_unit, (base_rate, ratio), POWER).ok()?;
                units * per_unit / both
            }
            Limit::MaxRate(limit) => {
                let rate = match harm {
                    Needed::Any => 1.0,
                    Needed::Double => (limit * DOUBLE).min(1.0),
                };
                outcomes_to_find(firing, limit, rate, POWER).ok()? / shares.candidate
            }
            Limit::MaxExcess(_) => return None,
        };
        let rps = requests / (for_s * reach);
        rps.is_finite().then_some(rps)
    }

    /// The seconds of the stage after which harm beyond the margin is ruled out; infinite where it never is, none where
    /// that is not waited for, or there is nothing to compare.
    fn ruled_out_after(&self, index: usize, base_rate: f64, flow: Flow) -> Option<f64> {
        if self.spec.guardrails[index].on_breach == Some(OnBreach::Alert) {
            return None;
        }
        let (margin, low) = self.seconds_alone(index, base_rate, flow);
        let (margin_done, low_done) = self.ruled_out[index];
        if margin_done.max(low_done) >= 1.0 {
            return Some(0.0);
        }
        let left = |alone: Option<f64>, done: f64| alone.map(|alone| alone * (1.0 - done));
        match (left(margin, margin_done), left(low, low_done)) {
            (Some(margin), Some(low)) => Some(margin.min(low)),
            (either, other) => either.or(other),
        }
    }

    /// How long each of the two ways takes by itself at this flow: ln(1/α) over the information of a bad unit about the
    /// margin (of an absolute limit, of the candidate's requests about the limit), or of the candidate's units about the
    /// low rate.
    fn seconds_alone(&self, index: usize, base_rate: f64, flow: Flow) -> (Option<f64>, Option<f64>) {
        let guardrail = &self.spec.guardrails[index];
        let per_unit = self.assumed.requests_per_unit;
        let unit_rate = bad_unit_rate(base_rate, per_unit);
        let both = flow.candidate + flow.control;
        let share = flow.candidate / both;
        let seconds = |needed: f64, per_second: f64| {
            if per_second > 0.0 {
                needed / per_second
            } else {
                f64::INFINITY
            }
        };
        let below = |rate: f64, limit: f64| {
            (rate < limit)
                .then(|| wald_bound(rate, limit, RULED_OUT_ALPHA).ok())
                .flatten()
        };
        let margin = match guardrail.limit {
            Limit::MaxRatio(ratio) => {
                let margin = guardrail.margin.unwrap_or_else(|| MARGIN.max(ratio));
                let worse = share * margin / (share * margin + 1.0 - share);
                let bad = wald_bound(share, worse, RULED_OUT_ALPHA).ok();
                bad.map(|bad| seconds(bad, both * unit_rate / per_unit))
            }
            // What control has already is never ruled out.
            Limit::MaxRate(limit) => below(base_rate, limit)
                .map(|requests| seconds(requests, flow.candidate))
                .or(Some(f64::INFINITY)),
            Limit::MaxExcess(_) => None,
        };
        let low = below(unit_rate, LOW_RATE).map(|units| seconds(units, flow.candidate / per_unit));
        (margin, low)
    }

    /// Takes the evidence of a stage along into the next one.
    fn carry(&mut self, flow: Flow, seconds: f64) {
        if !seconds.is_finite() {
            return;
        }
        for index in 0..self.ruled_out.len() {
            let (base_rate, _) = self.base_rate(&self.spec.guardrails[index]);
            let (margin, low) = self.seconds_alone(index, base_rate, flow);
            let part = |alone: Option<f64>| alone.map_or(0.0, |alone| seconds / alone);
            self.ruled_out[index].0 += part(margin);
            self.ruled_out[index].1 += part(low);
        }
    }
}

/// Which harm must be found.
#[derive(Clone, Copy)]
enum Needed {
    /// The largest that is looked for.
    Any,
    Double,
}
