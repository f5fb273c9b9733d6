//! Seeded simulations of the error rates the module promises.

use super::cluster::{ArmSummary, compare};
use super::evidence::{DEFAULT_BLOCKS, DEFAULT_POINTS, OddsGrid, RelativeStep, relative_log_e, threshold};
use super::sequential::always_valid;

const BUCKETS: usize = 256;

/// SplitMix64: small, seeded, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// 1 … 200 requests, P(n) ∝ n^−1.5 nearly: a few users send half of the traffic.
    fn requests(&mut self) -> u32 {
        let (low, high) = (0.5f64.powf(-0.5), 200.5f64.powf(-0.5));
        let u = self.uniform();
        (low + u * (high - low)).powi(-2).round() as u32
    }
}

type Arm = Vec<(f64, f64)>;

/// Users of one experiment without any effect, added to their buckets; `share` of them in treatment.
fn add_users(
    random: &mut Random,
    arms: &mut [Arm; 2],
    users: u32,
    share: f64,
    sum_of: fn(&mut Random, u32) -> f64,
) {
    for _ in 0..users {
        let arm = usize::from(random.uniform() < share);
        let bucket = (random.next() % BUCKETS as u64) as usize;
        let requests = random.requests();
        let cell = &mut arms[arm][bucket];
        cell.0 += f64::from(requests);
        cell.1 += sum_of(random, requests);
    }
}

fn empty() -> [Arm; 2] {
    [vec![(0.0, 0.0); BUCKETS], vec![(0.0, 0.0); BUCKETS]]
}

/// A score whose users differ as much as their requests do (intra-user correlation ½).
fn score(random: &mut Random, requests: u32) -> f64 {
    let requests = f64::from(requests);
    requests * random.normal() + requests.sqrt() * random.normal()
}

/// Successes of a user whose own rate is Beta(0.4, 1.6) distributed: 20 % on average, intra-user correlation
/// ⅓.
fn successes(random: &mut Random, requests: u32) -> f64 {
    // Jöhnk's generator.
    let rate = loop {
        let (x, y) = (random.uniform().powf(1.0 / 0.4), random.uniform().powf(1.0 / 1.6));
        if x + y <= 1.0 {
            break x / (x + y);
        }
    };
    (0..requests).filter(|_| random.uniform() < rate).count() as f64
}

/// The share of A/A experiments in which the fixed-horizon test at 5 % finds a difference.
fn rejections(seed: u64, runs: u32, users: u32, share: f64, sum_of: fn(&mut Random, u32) -> f64) -> f64 {
    let mut random = Random(seed);
    let mut rejected = 0;
    for _ in 0..runs {
        let mut arms = empty();
        add_users(&mut random, &mut arms, users, share, sum_of);
        let [a, b] = arms.map(|arm| ArmSummary::from_clusters(arm).unwrap());
        rejected += u32::from(compare(&a, &b, 0.05).unwrap().p < 0.05);
    }
    f64::from(rejected) / f64::from(runs)
}

#[test]
fn equal_arms_of_returning_users_are_told_apart_no_more_often_than_stated() {
    // Nominal 5 % and one point; 3000 runs have a standard error of 0.4 points.
    let even = rejections(1, 3000, 800, 0.5, score);
    assert!(even <= 0.06, "scores, half and half: {even}");
    let small = rejections(2, 3000, 2000, 0.05, score);
    assert!(small <= 0.06, "scores, 5 % share: {small}");
    let rates = rejections(3, 1000, 1000, 0.5, successes);
    assert!(rates <= 0.06, "rates, half and half: {rates}");
    let small_rates = rejections(4, 1000, 2000, 0.05, successes);
    assert!(small_rates <= 0.06, "rates, 5 % share: {small_rates}");
    // The test is not merely asleep.
    assert!(even >= 0.03, "{even}");
}

#[test]
fn looking_every_day_does_not_raise_the_error_of_the_always_valid_form() {
    let mut random = Random(5);
    let (runs, looks) = (400, 40);
    let mut alarms = 0;
    for _ in 0..runs {
        let mut arms = empty();
        alarms += u32::from((0..looks).any(|_| {
            add_users(&mut random, &mut arms, 50, 0.5, score);
            let [a, b] =
                [&arms[0], &arms[1]].map(|arm| ArmSummary::from_clusters(arm.iter().copied()).unwrap());
            if a.ready(false).is_err() || b.ready(false).is_err() {
                return false;
            }
            let test = compare(&a, &b, 0.05).unwrap();
            always_valid(test.difference, test.se, 0.3, 0.05).unwrap().p <= 0.05
        }));
    }
    let share = f64::from(alarms) / f64::from(runs);
    assert!(share <= 0.05, "{share}");
}

#[test]
fn equal_rates_freeze_no_more_often_than_stated_looking_after_every_event() {
    let grid = OddsGrid::new(1.25, DEFAULT_POINTS).unwrap();
    let alpha = 0.05;
    let fires = threshold(1, alpha).unwrap();
    let mut random = Random(6);
    let (runs, blocks, events_per_block) = (1200u32, 6, 25);
    let mut alarms = 0;
    for _ in 0..runs {
        // The share changes on the way, as in a ramp.
        let mut steps: Vec<[RelativeStep; 1]> = Vec::new();
        alarms += u32::from((0..blocks * events_per_block).any(|event| {
            if event % events_per_block == 0 {
                let share = [0.05, 0.2, 0.5][steps.len() * 3 / blocks];
                steps.push([RelativeStep {
                    share,
                    candidate: 0,
                    control: 0,
                }]);
            }
            let Some([now]) = steps.last_mut() else {
                return false;
            };
            if random.uniform() < now.share {
                now.candidate += 1;
            } else {
                now.control += 1;
            }
            relative_log_e(&grid, &steps, blocks) >= fires
        }));
    }
    let share = f64::from(alarms) / f64::from(runs);
    // Monte-Carlo slack: two standard errors of 1200 runs at 5 %.
    let slack = 2.0 * (alpha * (1.0 - alpha) / f64::from(runs)).sqrt();
    assert!(share <= alpha + slack, "{share}");
}

/// Mean candidate requests from a regression's begin to the freeze, at a 5 % share of a 2 % bad rate and α =
/// 1 %, in multiples of Wald's bound ln(1/α)/KL.
fn delay(seed: u64, runs: u32, times_worse: f64, blocks_before: usize) -> f64 {
    const CANDIDATES_PER_BLOCK: usize = 2000;
    const CONTROLS_PER_CANDIDATE: usize = 19;
    let (grid, alpha, rate) = (OddsGrid::new(1.25, DEFAULT_POINTS).unwrap(), 0.01, 0.02);
    let (worse, fires) = (rate * times_worse, threshold(1, alpha).unwrap());
    let mut random = Random(seed);
    let mut requests = 0usize;
    for _ in 0..runs {
        let mut steps: Vec<[RelativeStep; 1]> = Vec::new();
        for request in 0.. {
            let block = request / CANDIDATES_PER_BLOCK;
            steps.resize(
                block + 1,
                [RelativeStep {
                    share: 0.05,
                    candidate: 0,
                    control: 0,
                }],
            );
            let broken = block >= blocks_before;
            let bad = random.uniform() < if broken { worse } else { rate };
            let controls = (0..CONTROLS_PER_CANDIDATE)
                .filter(|_| random.uniform() < rate)
                .count();
            let now = &mut steps[block][0];
            now.control += controls as u64;
            now.candidate += u64::from(bad);
            requests += usize::from(broken);
            if broken && bad && relative_log_e(&grid, &steps, DEFAULT_BLOCKS) >= fires {
                break;
            }
        }
    }
    let information = worse * (worse / rate).ln() + (1.0 - worse) * ((1.0 - worse) / (1.0 - rate)).ln();
    requests as f64 / f64::from(runs) * information / -alpha.ln()
}

#[test]
fn a_regression_is_found_within_twice_the_least_possible_time() {
    for (seed, times_worse) in [(7, 2.0), (8, 3.0), (9, 5.0), (10, 10.0)] {
        let at_once = delay(seed, 300, times_worse, 0);
        assert!(
            at_once <= 2.0,
            "{times_worse} times worse from the start: {at_once} times the bound"
        );
        let late = delay(seed, 60, times_worse, 6);
        assert!(
            late <= 3.5,
            "{times_worse} times worse after six blocks: {late} times the bound"
        );
    }
}
