//! One stage of a rollout: what its guardrails find, and how long it takes until it may end.

use super::{
    Assumptions, GuardrailForecast, Harm, POWER, SilenceForecast, Source, StageForecast,
    ruling_out::{Growth, RulingOut},
    silence,
};
use crate::{
    domain::{
        experiment::{ExperimentKind, ExperimentSpec, RESTART_BLOCKS, Variant},
        guardrail::{ALPHA, GuardrailSpec, LEAST_BAD_UNITS, Limit, MISSING_ALPHA, MISSING_EXCESS, OnBreach},
        id::VariantName,
        rollout::Stage,
    },
    stats::{
        evidence::{self, DEFAULT_POINTS, LARGEST_RATIO, OddsGrid, SMALLEST_RATIO},
        power::harm::{Firing, StageTraffic, outcomes_to_find, smallest_rate, smallest_ratio, units_to_find},
    },
};
use std::time::Duration;

/// The harm whose price is told besides.
const DOUBLE: f64 = 2.0;

/// The design and the evidence that has come together in the stages before.
pub(super) struct Judge<'a> {
    spec: &'a ExperimentSpec,
    assumed: &'a Assumptions,
    control: &'a Variant,
    candidate: &'a Variant,
    log_threshold: f64,
    /// For each guardrail, the evidence that there is no harm.
    ruled_out: Vec<RulingOut>,
}

/// What flows in a stage, per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) candidate: f64,
    pub(super) control: f64,
}

impl Flow {
    fn times(self, share: f64) -> Self {
        Self {
            candidate: self.candidate * share,
            control: self.control * share,
        }
    }
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
            ruled_out: spec.guardrails.iter().map(RulingOut::begun).collect(),
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
        let reports = flow.map(|flow| flow.times(self.assumed.reported_share));
        let mut guardrails: Vec<GuardrailForecast> = (0..self.spec.guardrails.len())
            .filter_map(|index| self.guardrail(index, shares, reports, for_s))
            .collect();
        let min_outcomes_after_s = reports.map(|flow| {
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
        if let Some(reports) = reports {
            self.carry(reports, expected);
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
            silence: flow.and_then(|flow| self.silence(flow, for_s)),
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
            Limit::MaxRate(_) => ("max_rate", SMALLEST_RATIO),
            Limit::MaxExcess(_) => return None,
        };
        let firing = OddsGrid::new(grid_from, DEFAULT_POINTS).ok().map(|grid| Firing {
            grid,
            log_threshold: self.log_threshold,
            least_bad: LEAST_BAD_UNITS,
            blocks: RESTART_BLOCKS,
        });
        let unreported = self.is_unreported(guardrail);
        let finds = match (&firing, flow.filter(|_| !unreported)) {
            (Some(firing), Some(flow)) => self.finds(firing, guardrail.limit, base_rate, flow, for_s),
            _ => None,
        };
        // No traffic makes up for outcomes that do not come.
        let wanted = finds.is_none() && !unreported;
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
            blind: unreported || flow.is_some() && finds.is_none(),
            unreported,
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
        let reach = self.assumed.traffic.map_or(1.0, |traffic| traffic.reach) * self.assumed.reported_share;
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
    /// that is not waited for.
    fn ruled_out_after(&self, index: usize, base_rate: f64, reports: Flow) -> Option<f64> {
        let guardrail = &self.spec.guardrails[index];
        if guardrail.on_breach == Some(OnBreach::Alert) {
            return None;
        }
        if self.is_unreported(guardrail) {
            return Some(f64::INFINITY);
        }
        let growth = Growth::new(reports, base_rate, self.assumed.requests_per_unit);
        self.ruled_out[index].after(&growth)
    }

    /// Takes the evidence of a stage along into the next one.
    fn carry(&mut self, reports: Flow, seconds: f64) {
        if !seconds.is_finite() {
            return;
        }
        for index in 0..self.ruled_out.len() {
            let (base_rate, _) = self.base_rate(&self.spec.guardrails[index]);
            let growth = Growth::new(reports, base_rate, self.assumed.requests_per_unit);
            self.ruled_out[index].carry(&growth, seconds);
        }
    }

    fn is_unreported(&self, guardrail: &GuardrailSpec) -> bool {
        self.assumed.unreported.contains(&guardrail.measure_name())
    }

    /// What is found of requests that nobody reports; none where nothing depends on it, or there is nobody to compare.
    fn silence(&self, flow: Flow, for_s: f64) -> Option<SilenceForecast> {
        let spec = self.spec;
        if spec.guardrails.is_empty() && spec.rollout.is_none() {
            return None;
        }
        let declared = spec
            .guardrails
            .iter()
            .find_map(|guardrail| match guardrail.limit {
                Limit::MaxExcess(excess) => Some(silence::Firing {
                    excess,
                    log_threshold: self.log_threshold,
                }),
                _ => None,
            });
        let candidates = spec.variants.len() - 1;
        let firing = declared.unwrap_or_else(|| silence::Firing {
            excess: MISSING_EXCESS,
            log_threshold: evidence::threshold(candidates, MISSING_ALPHA).unwrap_or(f64::INFINITY),
        });
        let per_unit = self.assumed.requests_per_unit;
        Some(SilenceForecast::of(flow, per_unit, for_s, firing))
    }
}

/// Which harm must be found.
#[derive(Clone, Copy)]
enum Needed {
    /// The largest that is looked for.
    Any,
    Double,
}
