//! Equal and different arms under the report: false positives, coverage, power, verdicts.
//!
//! Owns one experiment of users who all stay to its end, and what is read off its report. The naive figures beside are
//! computed here, from the same cells; everything else is the report's. Called by `study`.

use super::{
    Plan, SimulationError,
    random::Random,
    study::Study,
    tally::{Bound, Label, Row},
    traffic::{Metric, Treatment, User, interleaved},
    world::{CANDIDATE, CONTROL, Counts, Design, SPAN, World},
};
use crate::{
    collector::cells::Cell,
    domain::id::{ArmIndex, MetricKey},
    report::{ALPHA, Decision, Figure, Report},
    stats::{
        distribution::{normal_cdf, normal_upper_quantile},
        moments::{Moments, welch},
    },
};

/// What a fixed-horizon test may exceed its level by, and an interval its coverage miss.
const POINT: f64 = 0.01;
/// Looks at an always-valid interval.
const LOOKS: usize = 100;

/// A number of users, a share of the candidate, and the runs of a full study.
struct Case {
    users: usize,
    share: f64,
    runs: u64,
}

impl Case {
    fn name(&self) -> String {
        format!("{} users, {} %", thousands(self.users), 100.0 * self.share)
    }
}

const fn case(users: usize, share: f64, runs: u64) -> Case {
    Case { users, share, runs }
}

pub(super) fn same_arms(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    const CASES: [Case; 5] = [
        case(500, 0.5, 2_000),
        case(5_000, 0.5, 1_000),
        case(20_000, 0.5, 250),
        case(5_000, 0.05, 1_000),
        case(20_000, 0.05, 250),
    ];
    let mut rows = Vec::new();
    for case in &CASES {
        let name = case.name();
        if !plan.wants(&name) {
            continue;
        }
        let runs = plan.runs((Study::SameArms, &name), case.runs, |random| {
            look_at_the_end(random, case, Treatment::Nothing)
        })?;
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            let positives = runs.iter().map(|looks| Some(looks[index].p? < ALPHA));
            let naively = runs.iter().map(|looks| Some(looks[index].naive_p? < ALPHA));
            let label = label(Study::SameArms, &name, metric, "false positives");
            rows.push(
                Row::share(label, positives, Some(ALPHA), Bound::AtMost(ALPHA + POINT)).beside(naively),
            );
        }
    }
    Ok(rows)
}

pub(super) fn always_valid(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    const CASES: [Case; 3] = [
        case(1_000, 0.5, 800),
        case(5_000, 0.5, 400),
        case(5_000, 0.05, 400),
    ];
    let mut rows = Vec::new();
    for case in &CASES {
        let name = case.name();
        if !plan.wants(&name) {
            continue;
        }
        // For each metric whether any look excluded 0: of the always-valid interval, of the other one.
        let runs = plan.runs((Study::AlwaysValid, &name), case.runs, |random| {
            let mut ever: [[Option<bool>; 2]; 5] = Default::default();
            watch(random, case, Treatment::Nothing, LOOKS, |world| {
                for (ever, look) in ever.iter_mut().zip(Look::all(world)?) {
                    for (ever, interval) in ever.iter_mut().zip([look.always_valid, look.fixed]) {
                        if let Some(interval) = interval {
                            *ever = Some(ever.unwrap_or(false) || !holds(interval, 0.0));
                        }
                    }
                }
                Ok(())
            })?;
            Ok(ever)
        })?;
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            let of = |form: usize| runs.iter().map(move |ever| ever[index][form]);
            let label = label(
                Study::AlwaysValid,
                &name,
                metric,
                "false positives, any of 100 looks",
            );
            rows.push(Row::share(label, of(0), Some(ALPHA), Bound::AtMost(ALPHA)).beside(of(1)));
        }
    }
    Ok(rows)
}

pub(super) fn other_arms(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    const CASES: [Case; 2] = [case(10_000, 0.5, 500), case(10_000, 0.05, 500)];
    let mut rows = Vec::new();
    for case in &CASES {
        let name = case.name();
        if !plan.wants(&name) {
            continue;
        }
        let runs = plan.runs((Study::OtherArms, &name), case.runs, |random| {
            look_at_the_end(random, case, Treatment::Better)
        })?;
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            let looks: Vec<&Look> = runs.iter().map(|looks| &looks[index]).collect();
            rows.extend(of_different_arms(case, &name, metric, &looks)?);
        }
    }
    Ok(rows)
}

/// One run, looked at when all of its requests were made.
fn look_at_the_end(
    random: &mut Random,
    case: &Case,
    treatment: Treatment,
) -> Result<[Look; 5], SimulationError> {
    let mut seen = None;
    watch(random, case, treatment, 1, |world| {
        seen = Some(Look::all(world)?);
        Ok(())
    })?;
    seen.ok_or(SimulationError::Missing("the look"))
}

fn of_different_arms(
    case: &Case,
    name: &str,
    metric: Metric,
    looks: &[&Look],
) -> Result<[Row; 5], SimulationError> {
    let label = |figure| label(Study::OtherArms, name, metric, figure);
    let truth = metric.effect();
    let covers = |interval: fn(&Look) -> Option<(f64, f64)>| {
        looks.iter().map(move |look| Some(holds(interval(look)?, truth)))
    };
    let naively = looks.iter().map(|look| Some(holds(look.naive?, truth)));
    let level = 1.0 - ALPHA;
    // At a small share the larger of two standard errors is taken, so more than the level is right.
    let most = if case.share < 0.5 { 1.0 } else { level + POINT };
    let fixed = Row::share(
        label("the interval for one look holds the truth"),
        covers(|look| look.fixed),
        Some(level),
        Bound::Within(level - POINT, most),
    )
    .beside(naively);
    let always_valid = Row::share(
        label("the always-valid interval holds the truth"),
        covers(|look| look.always_valid),
        Some(level),
        Bound::AtLeast(level),
    );
    let power = Row::share(
        label("found by p below 0.05"),
        looks.iter().map(|look| Some(look.p? < ALPHA)),
        expected_power(looks, truth),
        Bound::None,
    );
    // The true difference is larger than the one the test is planned for, so "no difference" is wrong too.
    let wrong = |look: &Look| matches!(look.verdict, Decision::Worse | Decision::NoDifference);
    let verdicts = Row::share(
        label("wrong verdicts"),
        looks.iter().map(|look| Some(wrong(look))),
        None,
        Bound::AtMost(ALPHA),
    );
    let decided = Row::share(
        label("right verdicts"),
        looks.iter().map(|look| Some(look.verdict == Decision::Better)),
        None,
        Bound::None,
    );
    Ok([fixed, always_valid, power, verdicts, decided])
}

/// Φ(|δ|/SE − 1.96) at the mean standard error of the runs, which the fixed interval's width tells.
fn expected_power(looks: &[&Look], truth: f64) -> Option<f64> {
    let z = normal_upper_quantile(ALPHA / 2.0).ok()?;
    let widths: Vec<f64> = looks
        .iter()
        .filter_map(|look| look.fixed.map(|(low, high)| high - low))
        .collect();
    let error = widths.iter().sum::<f64>() / widths.len() as f64 / (2.0 * z);
    (error > 0.0).then(|| normal_cdf(truth.abs() / error - z))
}

fn label<'a>(study: Study, case: &'a str, metric: Metric, figure: &'static str) -> Label<'a> {
    Label {
        study,
        case,
        metric: Some(metric.name()),
        figure,
    }
}

fn holds((low, high): (f64, f64), value: f64) -> bool {
    low <= value && value <= high
}

/// One experiment of users who all stay to its end, looked at in equal steps.
fn watch(
    random: &mut Random,
    case: &Case,
    treatment: Treatment,
    looks: usize,
    mut look: impl FnMut(&World) -> Result<(), SimulationError>,
) -> Result<(), SimulationError> {
    let mut world = World::new(Design {
        share: case.share,
        metrics: &Metric::ALL,
        planned: treatment == Treatment::Better,
        guarded: false,
    })?;
    let keys = keys(&world)?;
    let users: Vec<User> = (0..case.users).map(|_| User::new(random, treatment)).collect();
    let order = interleaved(random, users.iter().map(|user| user.requests));
    let mut seen = 0;
    for (index, user) in order.iter().enumerate() {
        let user = &users[*user as usize];
        world.at(SPAN.mul_f64(index as f64 / order.len() as f64));
        let Some(assigned) = world.assign(user.id)? else {
            return Err(SimulationError::Missing("the split"));
        };
        let values = user.request(random, treatment, assigned.is_candidate());
        world.expose(assigned)?;
        world.report_back(assigned, keys.into_iter().zip(values))?;
        if (index + 1) * looks / order.len() > seen {
            seen += 1;
            world.flush()?;
            look(&world)?;
        }
    }
    Ok(())
}

fn keys(world: &World) -> Result<[MetricKey; 5], SimulationError> {
    let mut keys = [MetricKey(0); 5];
    for (key, metric) in keys.iter_mut().zip(Metric::ALL) {
        *key = world.measure(metric.name())?;
    }
    Ok(keys)
}

/// What the report says of one metric, and what a test over single requests would.
#[derive(Debug)]
struct Look {
    p: Option<f64>,
    fixed: Option<(f64, f64)>,
    always_valid: Option<(f64, f64)>,
    verdict: Decision,
    naive_p: Option<f64>,
    naive: Option<(f64, f64)>,
}

impl Look {
    fn all(world: &World) -> Result<[Self; 5], SimulationError> {
        let (report, counts) = (world.report(), world.counts());
        let mut looks = Vec::with_capacity(5);
        for metric in Metric::ALL {
            let key = world.measure(metric.name())?;
            looks.push(Self::new(&report, metric, &counts, key)?);
        }
        looks.try_into().map_err(|_| SimulationError::Missing("a metric"))
    }

    fn new(
        report: &Report,
        metric: Metric,
        counts: &Counts,
        key: MetricKey,
    ) -> Result<Self, SimulationError> {
        let found = report.metrics.iter().find(|found| found.metric == metric.name());
        let variants = found.map(|found| found.variants.as_slice());
        let Some([_, candidate]) = variants else {
            return Err(SimulationError::Missing("an arm"));
        };
        let versus = candidate.vs_control.as_ref();
        let versus = versus.ok_or(SimulationError::Missing("the comparison"))?;
        let known = |figure: &Figure<(f64, f64)>| figure.known().copied();
        let naive = naive(counts, key);
        Ok(Self {
            p: versus.p.known().copied(),
            fixed: known(&versus.ci),
            always_valid: known(&versus.always_valid.ci),
            verdict: versus.verdict,
            naive_p: naive.map(|(p, _)| p),
            naive: naive.map(|(_, interval)| interval),
        })
    }
}

/// Every request for an independent one: p and the interval of Welch's test on the raw moments.
fn naive(counts: &Counts, metric: MetricKey) -> Option<(f64, (f64, f64))> {
    let moments = |arm: ArmIndex| {
        let mut all = Cell::default();
        for ((_, counted), counts) in counts {
            if *counted == arm {
                all.merge(counts.cell(metric)?);
            }
        }
        let n = all.n as f64;
        let squares = all.sum_sq_shifted - all.sum_shifted * all.sum_shifted / n;
        Moments::from_summary(all.n, all.mean()?, squares.max(0.0) / (n - 1.0)).ok()
    };
    let test = welch(&moments(CONTROL)?, &moments(CANDIDATE)?, ALPHA).ok()?;
    Some((test.p, test.ci))
}

/// 20000 as `20,000`.
pub(super) fn thousands(number: usize) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", thousands(number / 1_000), number % 1_000)
}
