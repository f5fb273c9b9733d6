//! Rates and means over runs, with their own error, held against what was promised.
//!
//! Owns what "within its bound" means: a figure misses when it is beyond the bound by more than three standard errors of
//! the simulation itself. A bound that holds is then missed by chance once in 700 figures, and one that is broken by a
//! point is found out by a full study. Called by the studies; shown by the command line.

use super::study::Study;
use serde::{Serialize, Serializer};

/// How many standard errors of the simulation a figure may be beyond its bound.
pub const TOLERANCE: f64 = 3.0;

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Nothing: the figure is shown for comparison.
    None,
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// From the first to the second.
    Within(f64, f64),
}

/// What a figure is, and so how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share of the runs, in [0, 1].
    Share,
    /// A mean number of times something else.
    Times,
    /// A mean difference of two rates.
    Difference,
    /// A mean time in hours.
    Hours,
    /// A mean number of something.
    Count,
}

/// One figure of a study.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The study.
    #[serde(serialize_with = "by_name")]
    pub study: Study,
    /// What was simulated.
    pub case: String,
    /// The metric, where it is one of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<&'static str>,
    /// What was measured.
    pub figure: &'static str,
    /// How many runs had it.
    pub runs: u64,
    /// How many did not: too little data to be shown, or nothing found until the end.
    pub without: u64,
    /// The rate or mean.
    pub value: f64,
    /// Its standard error: what another seed may change.
    pub error: f64,
    /// In what.
    pub unit: Unit,
    /// What the theory says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nominal: Option<f64>,
    /// What was promised.
    pub bound: Bound,
    /// The same figure of the method that suggests itself; see [`Study::naively`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub naively: Option<f64>,
    /// Whether the promise holds; none where there is none.
    pub holds: Option<bool>,
}

fn by_name<S: Serializer>(study: &Study, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(study.name())
}

/// Where a row belongs and what it is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a> {
    pub(super) study: Study,
    pub(super) case: &'a str,
    pub(super) metric: Option<&'static str>,
    pub(super) figure: &'static str,
}

impl Row {
    /// The share of the runs in which something happened; runs that cannot say are `None`.
    ///
    /// The standard error is √(p(1 − p)/n). At a bound it is taken for p = the bound, so that no event in a few runs
    /// is not held to be exact.
    pub(super) fn share(
        label: Label<'_>,
        happened: impl IntoIterator<Item = Option<bool>>,
        nominal: Option<f64>,
        bound: Bound,
    ) -> Self {
        let (mut runs, mut without, mut hits) = (0_u64, 0_u64, 0_u64);
        for run in happened {
            match run {
                Some(hit) => {
                    runs += 1;
                    hits += u64::from(hit);
                }
                None => without += 1,
            }
        }
        let n = (runs as f64).max(1.0);
        let value = hits as f64 / n;
        let error = |p: f64| (p * (1.0 - p) / n).max(0.0).sqrt();
        Self::new(
            label,
            (runs, without),
            (value, error(value)),
            Unit::Share,
            nominal,
            bound,
            error,
        )
    }

    /// The mean over the runs; runs that cannot say are `None`. The standard error is s/√n.
    pub(super) fn mean(
        label: Label<'_>,
        values: impl IntoIterator<Item = Option<f64>>,
        unit: Unit,
        nominal: Option<f64>,
        bound: Bound,
    ) -> Self {
        let mut without = 0;
        let known: Vec<f64> = values
            .into_iter()
            .filter_map(|value| {
                without += u64::from(value.is_none());
                value
            })
            .collect();
        let n = (known.len() as f64).max(1.0);
        let value = known.iter().sum::<f64>() / n;
        let squares: f64 = known.iter().map(|known| (known - value).powi(2)).sum();
        let error = (squares / (n - 1.0).max(1.0) / n).sqrt();
        Self::new(
            label,
            (known.len() as u64, without),
            (value, error),
            unit,
            nominal,
            bound,
            |_| error,
        )
    }

    fn new(
        label: Label<'_>,
        (runs, without): (u64, u64),
        (value, error): (f64, f64),
        unit: Unit,
        nominal: Option<f64>,
        bound: Bound,
        error_at: impl Fn(f64) -> f64,
    ) -> Self {
        let below = |most: f64| value <= most + TOLERANCE * error_at(most);
        let above = |least: f64| value >= least - TOLERANCE * error_at(least);
        // A promise about figures that nobody ever saw is not kept.
        let holds = match bound {
            Bound::None => None,
            _ if runs == 0 => Some(false),
            Bound::AtMost(most) => Some(below(most)),
            Bound::AtLeast(least) => Some(above(least)),
            Bound::Within(least, most) => Some(above(least) && below(most)),
        };
        Self {
            study: label.study,
            case: label.case.to_owned(),
            metric: label.metric,
            figure: label.figure,
            runs,
            without,
            value,
            error,
            unit,
            nominal,
            bound,
            naively: None,
            holds,
        }
    }

    /// With the naive method's share of the same runs beside it.
    pub(super) fn beside(mut self, naively: impl IntoIterator<Item = Option<bool>>) -> Self {
        let (mut runs, mut hits) = (0_u64, 0_u64);
        for hit in naively.into_iter().flatten() {
            runs += 1;
            hits += u64::from(hit);
        }
        self.naively = (runs > 0).then(|| hits as f64 / runs as f64);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: Label<'static> = Label {
        study: Study::SameArms,
        case: "case",
        metric: None,
        figure: "figure",
    };

    fn share(hits: usize, runs: usize, bound: Bound) -> Row {
        Row::share(LABEL, (0..runs).map(|run| Some(run < hits)), None, bound)
    }

    #[test]
    fn a_share_has_its_error_and_misses_beyond_three_of_them() {
        let row = share(50, 1_000, Bound::None);
        assert_eq!((row.value, row.holds), (0.05, None));
        assert!((row.error - 0.006_892).abs() < 1e-6);
        // 5 % of 1,000 runs: three standard errors are 2.07 points.
        assert_eq!(share(70, 1_000, Bound::AtMost(0.05)).holds, Some(true));
        assert_eq!(share(71, 1_000, Bound::AtMost(0.05)).holds, Some(false));
        assert_eq!(share(930, 1_000, Bound::AtLeast(0.95)).holds, Some(true));
        assert_eq!(share(929, 1_000, Bound::AtLeast(0.95)).holds, Some(false));
        assert_eq!(share(980, 1_000, Bound::Within(0.94, 0.96)).holds, Some(false));
        assert_eq!(share(0, 0, Bound::AtMost(0.05)).holds, Some(false));
    }

    #[test]
    fn runs_that_cannot_say_are_counted_apart() {
        let row = Row::share(LABEL, [Some(true), None, Some(false)], None, Bound::None).beside([
            Some(true),
            Some(true),
            None,
        ]);
        assert_eq!((row.runs, row.without, row.value), (2, 1, 0.5));
        assert_eq!(row.naively, Some(1.0));
        let row = Row::mean(
            LABEL,
            [Some(1.0), None, Some(3.0)],
            Unit::Times,
            None,
            Bound::AtMost(1.0),
        );
        assert_eq!((row.runs, row.without, row.value, row.error), (2, 1, 2.0, 1.0));
        assert_eq!(row.holds, Some(true));
    }
}
