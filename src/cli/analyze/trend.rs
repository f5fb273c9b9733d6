//! The figures of a picture: one metric over time, or all metrics below each other.
//!
//! Owns which figures are shown; drawing is `plot`'s. Over time, every point is what the whole report would have said
//! at that moment, from all rows up to it.

use super::{analysis::Analysis, tally::Tally, undrawable};
use crate::{
    cli::plot::{
        Scale,
        forest::{self, Forest},
        intervals::{self, Course, Intervals, Point},
    },
    domain::metric::MetricKind,
    report::{Figure, MetricReport, VersusControl},
};
use anyhow::Result;

/// The picture of a file as SVG.
///
/// # Errors
/// There is nothing to draw yet, or drawing failed.
pub(super) fn picture(tally: &Tally, analysis: &Analysis, file: &str) -> Result<String> {
    match tally.over_time() {
        Some(metric) if tally.span.is_some() => {
            let name = &tally.metrics[metric].name;
            let Some(place) = analysis.place(name) else {
                return Err(undrawable(&format!("no value of `{name}` can be used")));
            };
            intervals::svg(&over_time(tally, analysis, place, file)?)
        }
        _ => forest::svg(&below_each_other(analysis, file)?),
    }
}

fn over_time(tally: &Tally, analysis: &Analysis, metric: usize, file: &str) -> Result<Intervals> {
    let whole = &analysis.metrics[metric];
    let scale = scale(whole);
    let mut courses: Vec<Course> = whole.variants[1..]
        .iter()
        .map(|arm| Course {
            variant: arm.variant.to_string(),
            points: Vec::new(),
        })
        .collect();
    for (end, cells) in tally.slices.running() {
        let report = analysis.report(metric, &tally.variants, &cells, None);
        for (course, arm) in courses.iter_mut().zip(&report.variants[1..]) {
            let point = arm
                .vs_control
                .as_ref()
                .and_then(|versus| point(end, versus, scale));
            course.points.extend(point);
        }
    }
    if courses.iter().all(|course| course.points.is_empty()) {
        let versus = whole.variants[1..].iter().find_map(|arm| arm.vs_control.as_ref());
        let reason = versus.map_or("there is no comparison", |versus| match &versus.always_valid.ci {
            Figure::Undefined(reason) => reason,
            Figure::Known(_) => "no row has a time",
        });
        return Err(undrawable(&format!(
            "`{}` has no interval yet: {reason}",
            whole.metric
        )));
    }
    Ok(Intervals {
        title: format!(
            "{} over time, compared with {}",
            whole.metric, whole.variants[0].variant
        ),
        subtitle: file.to_owned(),
        control: whole.variants[0].variant.to_string(),
        quantity: whole.metric.clone(),
        scale,
        margin: margin(whole).map(|margin| margin * scale.factor()),
        courses,
    })
}

fn below_each_other(analysis: &Analysis, file: &str) -> Result<Forest> {
    let mut rows = Vec::new();
    for metric in &analysis.metrics {
        for arm in &metric.variants[1..] {
            let Some(versus) = &arm.vs_control else { continue };
            let base = metric.variants[0]
                .mean
                .known()
                .copied()
                .filter(|base| *base != 0.0);
            // As shares of control's mean: metrics of all units go below each other.
            let relative = base.and_then(|base| {
                let point = point(0, versus, Scale::Number)?;
                let ends = |(low, high): (f64, f64)| {
                    let (a, b) = (100.0 * low / base.abs(), 100.0 * high / base.abs());
                    (a.min(b), a.max(b))
                };
                Some(Point {
                    at_ms: 0,
                    estimate: 100.0 * point.estimate / base.abs(),
                    always_valid: ends(point.always_valid),
                    fixed: ends(point.fixed),
                })
            });
            rows.push(forest::Row {
                metric: metric.metric.clone(),
                variant: arm.variant.to_string(),
                interval: relative.ok_or_else(|| match &versus.always_valid.ci {
                    Figure::Undefined(reason) => reason.clone(),
                    Figure::Known(_) => "control's mean is 0".to_owned(),
                }),
                margin: 100.0 * metric.margin,
            });
        }
    }
    if rows.iter().all(|row| row.interval.is_err()) {
        let reason = rows.iter().find_map(|row| row.interval.as_ref().err());
        let reason = reason.map_or("there is no comparison", String::as_str);
        return Err(undrawable(&format!("no metric has an interval yet: {reason}")));
    }
    let control = &analysis.metrics[0].variants[0].variant;
    Ok(Forest {
        title: format!("Differences from {control}"),
        subtitle: file.to_owned(),
        rows,
    })
}

/// Rates are shown in percentage points.
fn scale(metric: &MetricReport) -> Scale {
    match metric.kind {
        MetricKind::Rate => Scale::Points,
        MetricKind::Mean => Scale::Number,
    }
}

/// What counts as no difference, in the unit of the metric.
fn margin(metric: &MetricReport) -> Option<f64> {
    let base = metric.variants[0].mean.known()?;
    Some(metric.margin * base.abs()).filter(|margin| *margin > 0.0)
}

fn point(at_ms: i64, versus: &VersusControl, scale: Scale) -> Option<Point> {
    let times = |(low, high): (f64, f64)| (low * scale.factor(), high * scale.factor());
    Some(Point {
        at_ms,
        estimate: versus.difference.known()? * scale.factor(),
        always_valid: times(*versus.always_valid.ci.known()?),
        fixed: times(*versus.ci.known()?),
    })
}
