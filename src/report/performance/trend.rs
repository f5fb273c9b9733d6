//! One window against the one before it: has a figure moved, stood still, or is it not known?

use crate::{
    report::{ALPHA, Figure},
    stats::{
        Undefined,
        cluster::{ArmSummary, compare},
        multiple_testing::benjamini_hochberg,
    },
};
use serde::Serialize;

/// A figure has stood still when all that the data allow is less of a change than this share of what it was.
const STEADY: f64 = 0.1;
/// Effective blocks that each window needs. Fewer than the clusters of units need elsewhere: a block is a sum over many
/// requests and close to normal, and windows of a quarter of an hour have 15.
const LEAST_BLOCKS: f64 = 10.0;
/// Blocks with an event, and of a rate without one too.
const LEAST_EVENTS: u64 = 10;
const NOT_KEPT: &str = "counts of the window before are not kept any more";

/// The direction of a figure, whatever is good about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Higher than before; not by chance.
    Rising,
    /// Lower than before; not by chance.
    Falling,
    /// Where it was, within 10 %.
    Steady,
    /// The data do not say.
    Unknown,
}

/// The window against the one of the same length right before it.
///
/// It says that something changed, not what: other users, other questions and other hours of the day came with the time
/// too. Blocks are taken for independent; a figure that drifts slowly within a window makes neighbours alike, and then
/// the interval is too short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// The figure in the window before.
    pub previous: Figure<f64>,
    /// What was added since, in the unit of the figure.
    pub change: Figure<f64>,
    /// The change as a share of what was before.
    pub relative: Figure<f64>,
    /// The 95 % interval of the change.
    pub ci: Figure<(f64, f64)>,
    /// The chance of such a change where nothing changed.
    pub p: Figure<f64>,
    /// The same after correction for all trends of the answer (Benjamini–Hochberg).
    pub p_adjusted: Figure<f64>,
    /// What follows: rising or falling from the corrected p below 0.05, steady from the interval.
    pub direction: Direction,
}

/// A figure in one of the two windows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Side {
    pub(super) value: Figure<f64>,
    pub(super) summary: Result<ArmSummary, String>,
    /// Whether it is a share of requests.
    pub(super) rate: bool,
}

impl Side {
    pub(super) fn empty(reason: &str) -> Self {
        Self {
            value: Figure::undefined(reason),
            summary: Err(reason.to_owned()),
            rate: false,
        }
    }

    /// A total of `n` things, from the share of the window that each block is and what it had.
    pub(super) fn total(n: u64, blocks: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let value = Figure::finite("the total", blocks.clone().map(|(_, had)| had).sum());
        let summary = if n < LEAST_EVENTS {
            let (have, needed) = (n as f64, LEAST_EVENTS as f64);
            let what = "counted in one of the windows";
            Err(Undefined::Collecting { what, have, needed }.to_string())
        } else {
            ArmSummary::from_clusters(blocks).map_err(|reason| reason.to_string())
        };
        Self {
            value,
            summary,
            rate: false,
        }
    }

    /// The summary, where there is enough behind it to be compared.
    fn ready(&self) -> Result<&ArmSummary, String> {
        let summary = self.summary.as_ref().map_err(Clone::clone)?;
        let collecting = |what, have, needed| Err(Undefined::Collecting { what, have, needed }.to_string());
        if summary.n_eff < LEAST_BLOCKS {
            let have = (summary.n_eff * 10.0).floor() / 10.0;
            return collecting(
                "effective blocks of time in one of the windows",
                have,
                LEAST_BLOCKS,
            );
        }
        for (have, what) in [
            (
                summary.clusters_with_events,
                "blocks of time with an event in one of the windows",
            ),
            (
                summary.clusters_with_misses,
                "blocks of time with a request without the event in one of the windows",
            ),
        ] {
            if self.rate && have < LEAST_EVENTS {
                return collecting(what, have as f64, LEAST_EVENTS as f64);
            }
        }
        Ok(summary)
    }
}

/// What a test of the two windows found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub(super) ci: (f64, f64),
    pub(super) p: f64,
}

impl Trend {
    /// The trend of a figure; `before` is none where the window before is not kept.
    pub(super) fn of(now: &Side, before: Option<&Side>) -> Self {
        let Some(before) = before else {
            return Self::unknown(NOT_KEPT);
        };
        let test = before.ready().and_then(|before| {
            let test = compare(before, now.ready()?, ALPHA).map_err(|reason| reason.to_string())?;
            Ok(Found {
                ci: test.ci,
                p: test.p,
            })
        });
        Self::tested(&now.value, &before.value, test)
    }

    /// The trend of a figure that was tested elsewhere.
    pub(super) fn tested(now: &Figure<f64>, before: &Figure<f64>, test: Result<Found, String>) -> Self {
        let (change, relative) = match (now, before) {
            (Figure::Known(now), Figure::Known(before)) => {
                let change = now - before;
                let relative = if *before == 0.0 {
                    Figure::undefined("it was 0 before, and no share of that is a change")
                } else {
                    Figure::finite("the relative change", change / before)
                };
                (Figure::finite("the change", change), relative)
            }
            (_, Figure::Undefined(_)) => {
                let reason = "nothing was reported in the window before";
                (Figure::undefined(reason), Figure::undefined(reason))
            }
            (Figure::Undefined(reason), _) => (
                Figure::undefined(reason.clone()),
                Figure::undefined(reason.clone()),
            ),
        };
        let test = match &change {
            Figure::Known(_) => test,
            Figure::Undefined(reason) => Err(reason.clone()),
        };
        let p = Figure::of(test.as_ref().map(|test| test.p));
        Self {
            previous: match before {
                Figure::Known(before) => Figure::Known(*before),
                Figure::Undefined(_) => Figure::undefined("nothing was reported in the window before"),
            },
            change,
            relative,
            ci: Figure::of(test.map(|test| test.ci)),
            p_adjusted: p.clone(),
            p,
            direction: Direction::Unknown,
        }
    }

    pub(super) fn unknown(reason: &str) -> Self {
        let none = || Figure::undefined(reason);
        Self {
            previous: none(),
            change: none(),
            relative: none(),
            ci: Figure::undefined(reason),
            p: none(),
            p_adjusted: none(),
            direction: Direction::Unknown,
        }
    }

    fn judged(&self) -> Direction {
        match (&self.p_adjusted, &self.change, &self.ci, &self.previous) {
            (Figure::Known(p), Figure::Known(change), ..) if *p < ALPHA && *change != 0.0 => {
                if *change > 0.0 {
                    Direction::Rising
                } else {
                    Direction::Falling
                }
            }
            (_, _, Figure::Known((low, high)), Figure::Known(previous)) => {
                let margin = STEADY * previous.abs();
                if -margin <= *low && *high <= margin {
                    Direction::Steady
                } else {
                    Direction::Unknown
                }
            }
            _ => Direction::Unknown,
        }
    }
}

/// Corrects the trends of an answer for there being many, and says where each leads.
pub(super) fn correct(mut trends: Vec<&mut Trend>) {
    let p: Vec<f64> = trends
        .iter()
        .filter_map(|trend| trend.p.known().copied())
        .collect();
    // All of them are probabilities, so the correction cannot fail.
    let mut adjusted = benjamini_hochberg(&p).unwrap_or_default().into_iter();
    for trend in &mut trends {
        if trend.p.known().is_some()
            && let Some(p) = adjusted.next()
        {
            trend.p_adjusted = Figure::Known(p);
        }
        trend.direction = trend.judged();
    }
}

#[cfg(test)]
mod tests;
