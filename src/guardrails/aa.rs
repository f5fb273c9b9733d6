//! Continuous A/A: each guardrail's own test between two hidden halves of control, so that people see how often the alarm
//! is false.
//!
//! Both halves get the same version, so the only thing this test can find is a fault of the alarm: a unit that counts more
//! than once, hashes that are not even, outcomes made up for chosen units, wrong arithmetic. It is the same e-process with the same grid, restarts, threshold and least
//! number of bad units as the guardrail's, with the second half in the place of the candidate. Between arms there are other
//! causes of a false alarm that no split of one arm can show, such as a candidate whose outcomes arrive later.
//!
//! A half and no other share, although a candidate may have 1 %: the promise that α is kept does not depend on the share
//! (Ville's inequality), a unit says most at ½, so that a fault shows soonest, and a share that never changes lets the
//! evidence go on through every stage of a rollout.
//!
//! Owns what it found so far, for the life of the process. Proposes nothing, holds nothing, freezes nothing: the watch lets
//! it look, reports and metrics show what it found.

mod halves;

use super::assess;
use crate::{
    collector::guard::GuardSnapshot,
    domain::{
        Timestamp,
        continuous_aa::ContinuousAa,
        experiment::Experiment,
        guardrail::Limit,
        id::{Epoch, ExperimentKey},
    },
    stats::evidence::RatioConfidence,
};
use halves::Halves;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};

/// What a guardrail's test finds between the halves of control.
#[derive(Debug, Clone, PartialEq)]
pub struct AaAssessment {
    /// The guardrail's name, as in its own [`assess::Assessment`].
    pub name: String,
    /// The evidence now, on the guardrail's scale: 0 is none, at 1 a candidate would be frozen.
    pub evidence: f64,
    /// Whether a candidate would have been frozen on this evidence, at the end of any restart block of this evidence period
    /// or at any look of this process.
    pub would_have_frozen: bool,
    /// Distinct bad units of each half.
    pub bad_units: [u64; 2],
    /// Rate ratios, second half to first, that the evidence does not rule out; only when asked for.
    pub ratio: Option<RatioConfidence>,
}

/// The continuous A/A tests of all experiments, and which of them ever gave a false alarm.
#[derive(Debug, Default)]
pub struct Aa {
    covered: ContinuousAa,
    /// The guardrails that crossed at a look, by name, in the evidence period that began with the epoch.
    crossed: Mutex<HashMap<ExperimentKey, (Epoch, BTreeSet<String>)>>,
}

impl Aa {
    /// Tests of these prompts' experiments.
    #[must_use]
    pub fn new(covered: ContinuousAa) -> Self {
        Self {
            covered,
            crossed: Mutex::default(),
        }
    }

    /// Looks at the evidence as it is now, remembers each false alarm and says whether there is one at this look. To be
    /// called when the guardrails themselves look, after they have acted.
    pub fn look(&self, experiment: &Experiment, guard: Option<&GuardSnapshot>, now: Timestamp) -> bool {
        let mut crossed = BTreeSet::new();
        for halves in self.halves(experiment, guard, now) {
            if halves.fires(halves.begun()) {
                crossed.insert(assess::name(&experiment.spec.guardrails, halves.index));
            }
        }
        let Some(clock) = experiment.evidence.as_ref().filter(|_| !crossed.is_empty()) else {
            return false;
        };
        let mut remembered = self.crossed.lock();
        let (since, all) = remembered
            .entry(experiment.key)
            .or_insert_with(|| (clock.since_epoch, BTreeSet::new()));
        if *since != clock.since_epoch {
            *since = clock.since_epoch;
            all.clear();
        }
        all.append(&mut crossed);
        true
    }

    /// What was found about every guardrail with a relative limit: an absolute one compares no arms. Empty before the
    /// first start, and for prompts that are not to be tested. `for_people` adds the ratio's confidence interval.
    #[must_use]
    pub fn assess(
        &self,
        experiment: &Experiment,
        guard: Option<&GuardSnapshot>,
        now: Timestamp,
        for_people: bool,
    ) -> Vec<AaAssessment> {
        let crossed = self.crossed(experiment);
        let halves = self.halves(experiment, guard, now);
        let assessed = halves.map(|halves| {
            let name = assess::name(&experiment.spec.guardrails, halves.index);
            AaAssessment {
                evidence: halves.gauge(),
                would_have_frozen: crossed.contains(&name) || halves.ever_fired(),
                bad_units: halves.bad_units(halves.begun()),
                ratio: for_people.then(|| halves.ratio()).flatten(),
                name,
            }
        });
        assessed.collect()
    }

    /// The guardrails that crossed at a look in this evidence period.
    fn crossed(&self, experiment: &Experiment) -> BTreeSet<String> {
        let since = experiment.evidence.as_ref().map(|clock| clock.since_epoch);
        let remembered = self.crossed.lock();
        let of_period = remembered
            .get(&experiment.key)
            .filter(|(epoch, _)| Some(*epoch) == since);
        of_period.map_or_else(BTreeSet::new, |(_, crossed)| crossed.clone())
    }

    fn halves<'a>(
        &'a self,
        experiment: &'a Experiment,
        guard: Option<&'a GuardSnapshot>,
        now: Timestamp,
    ) -> impl Iterator<Item = Halves> + 'a {
        let covered = self.covered.covers(&experiment.spec.prompt);
        let guardrails = experiment.spec.guardrails.iter().enumerate();
        guardrails
            .filter(move |_| covered)
            .filter_map(move |(index, guardrail)| {
                let Limit::MaxRatio(limit) = guardrail.limit else {
                    return None;
                };
                let measure = experiment.measure(&guardrail.measure_name())?.key;
                let since = experiment.evidence.as_ref()?.since_epoch;
                // Evidence of an earlier period says nothing about this one, here as in the guardrail's own test.
                let guarded = guard
                    .filter(|guard| guard.since_epoch == since)
                    .and_then(|guard| guard.measure(measure));
                Halves::of(experiment, index, limit, guarded, now)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collector::guard::{GuardedArm, GuardedCounts, Step},
        domain::{
            experiment::{ArmShare, EpochRecord, EvidenceClock, ExperimentSpec, State},
            id::{ArmIndex, MetricKey, PromptName, Revision},
        },
        guardrails::assess::assess,
    };
    use std::sync::Arc;

    const FALLBACK: MetricKey = MetricKey(7);

    /// One relative and one absolute guardrail on the same measure, equal shares, blocks of 100 s.
    fn experiment() -> Experiment {
        let guardrails = serde_json::json!([
            {"metric": "fallback", "max_rate": 0.5},
            {"metric": "fallback", "max_ratio": 1.25},
        ]);
        let spec: ExperimentSpec = serde_json::from_value(serde_json::json!({
            "id": "e", "prompt": "p", "environment": "production", "kind": "experiment", "status": "running",
            "unit": "user", "traffic": 1.0, "metrics": [], "guardrails": guardrails,
            "variants": [{"name": "old", "version": "1.0.0", "weight": 1.0},
                         {"name": "new", "version": "1.1.0", "weight": 1.0}],
        }))
        .unwrap();
        let share = |arm| ArmShare {
            arm: ArmIndex(arm),
            share: 0.5,
            version: None,
        };
        Experiment {
            key: ExperimentKey(1),
            measures: spec.measures(&[], |_| FALLBACK),
            arms: spec.variants.iter().map(|variant| variant.name.clone()).collect(),
            spec: Arc::new(spec),
            file: None,
            state: State::Running,
            segments: Vec::new(),
            covariates: Vec::new(),
            epochs: vec![EpochRecord {
                epoch: Epoch(1),
                since: Timestamp::UNIX_EPOCH,
                revision: Revision(1),
                state: State::Running,
                stage: 0,
                control: ArmIndex(0),
                shares: vec![share(0), share(1)],
            }],
            pinned: Vec::new(),
            started: Some(Revision(1)),
            freeze: None,
            hold: None,
            progress: None,
            conclusion: None,
            alerted: Vec::new(),
            evidence: Some(EvidenceClock::begun(
                (Epoch(1), Timestamp::UNIX_EPOCH),
                0.01,
                (0, 1),
                std::time::Duration::from_secs(3_200),
            )),
            created_at: Timestamp::UNIX_EPOCH,
            changed_at: Timestamp::UNIX_EPOCH,
            revision: Revision(1),
        }
    }

    /// (block, arm, halves of its bad units).
    fn guard(counts: &[(usize, u8, [u32; 2])]) -> GuardSnapshot {
        let steps = counts.iter().map(|(block, arm, halves)| Step {
            block: *block,
            epoch: Epoch(1),
            arm: ArmIndex(*arm),
            bad_units: halves[0] + halves[1],
            halves: *halves,
        });
        let steps: Vec<Step> = steps.collect();
        let arms = [0, 1].map(|arm| GuardedArm {
            arm: ArmIndex(arm),
            bad_units: steps
                .iter()
                .filter(|step| step.arm == ArmIndex(arm))
                .map(|step| u64::from(step.bad_units))
                .sum(),
            pending: 0,
            absolute: None,
        });
        GuardSnapshot {
            since_epoch: Epoch(1),
            measures: vec![GuardedCounts {
                measure: FALLBACK,
                arms: arms.to_vec(),
                steps,
            }],
        }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_is_the_guardrails_own_test() {
        let experiment = experiment();
        let blocks = [[9, 12], [3, 4], [10, 31]];
        let (mut halves, mut arms) = (Vec::new(), Vec::new());
        for (block, [first, second]) in (0..).zip(blocks) {
            halves.extend([(block, 0, [first, second]), (block, 1, [500, 0])]);
            arms.extend([(block, 0, [first, 0]), (block, 1, [0, second])]);
        }
        let now = second(250);
        let found = Aa::default().assess(&experiment, Some(&guard(&halves)), now, true);
        let [found] = &found[..] else {
            panic!("an absolute limit compares nothing: {found:?}");
        };
        let own = assess(&experiment, Some(&guard(&arms)), &[], now, true);
        assert_eq!((&found.name, found.evidence), (&own[1].name, own[1].evidence));
        assert_eq!((found.ratio, found.bad_units), (own[1].ratio, [22, 47]));
        assert!(found.evidence > 0.1 && found.evidence < 1.0, "{found:?}");
        assert!(!found.would_have_frozen && found.name == "fallback:max_ratio");
    }

    #[test]
    fn no_false_alarm_is_passed_over_to_save_work() {
        let experiment = experiment();
        let (mut fired, mut spared, mut state) = (0, 0, 1_u64);
        for _ in 0..2_000 {
            let mut draw = |most: u64| {
                // Knuth's constants; the upper bits are random enough.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                u32::try_from((state >> 33) % most).unwrap()
            };
            let blocks: Vec<_> = (0..6).map(|block| (block, 0, [draw(8), draw(14)])).collect();
            let guard = guard(&blocks);
            let aa = Aa::default();
            for halves in aa.halves(&experiment, Some(&guard), second(550)) {
                for blocks in 1..=6 {
                    let enough = halves.log_e(blocks) >= halves.log_threshold;
                    assert!(halves.may_fire(blocks) || !enough, "{blocks} of {guard:?}");
                    fired += u32::from(enough);
                    spared += u32::from(!halves.may_fire(blocks));
                }
            }
        }
        assert!(fired > 100 && spared > 1_000, "{fired} {spared}");
    }

    #[test]
    fn a_false_alarm_is_remembered_when_the_evidence_has_gone() {
        let (aa, unlooked) = (Aa::default(), Aa::default());
        let mut experiment = experiment();
        let (alarming, calm) = (guard(&[(0, 0, [0, 40])]), guard(&[(0, 0, [60, 40])]));
        assert!(aa.look(&experiment, Some(&alarming), second(50)));
        assert!(!aa.look(&experiment, Some(&calm), second(60)));
        let state = |aa: &Aa, experiment: &Experiment, guard: &GuardSnapshot| {
            let found = aa.assess(experiment, Some(guard), second(250), false).remove(0);
            (found.evidence >= 1.0, found.would_have_frozen)
        };
        assert_eq!(state(&aa, &experiment, &calm), (false, true));
        assert_eq!(state(&unlooked, &experiment, &calm), (false, false));
        // What was so at the end of a block can be seen without having looked then, as after a restart.
        let later = guard(&[(0, 0, [0, 40]), (1, 0, [60, 0])]);
        assert_eq!(state(&unlooked, &experiment, &later), (false, true));
        // The other half being worse is no harm, and neither are units from before there were halves.
        let mut other = guard(&[(0, 0, [400, 0])]);
        other.measures[0].steps[0].bad_units = 800;
        assert_eq!(state(&unlooked, &experiment, &other), (false, false));
        // Another evidence period has alarms of its own.
        let clock = experiment.evidence.as_mut().unwrap();
        clock.since_epoch = Epoch(2);
        assert_eq!(state(&aa, &experiment, &alarming), (false, false));
        let mut afresh = alarming.clone();
        afresh.since_epoch = Epoch(2);
        assert_eq!(state(&unlooked, &experiment, &afresh), (true, true));
    }

    #[test]
    fn only_the_prompts_that_are_wanted_and_have_begun_are_tested() {
        let alarming = guard(&[(0, 0, [0, 40])]);
        let tested = |covered: ContinuousAa, experiment: &Experiment| {
            let aa = Aa::new(covered);
            let looked = aa.look(experiment, Some(&alarming), second(50));
            let shown = aa.assess(experiment, Some(&alarming), second(50), false);
            assert_eq!(looked, !shown.is_empty());
            looked
        };
        let only = |name: &str| ContinuousAa::Only([PromptName::new(name).unwrap()].into());
        let mut experiment = experiment();
        assert!(tested(ContinuousAa::All, &experiment) && tested(only("p"), &experiment));
        assert!(!tested(only("q"), &experiment) && !tested(ContinuousAa::Only([].into()), &experiment));
        experiment.evidence = None;
        assert!(!tested(ContinuousAa::All, &experiment));
    }
}
