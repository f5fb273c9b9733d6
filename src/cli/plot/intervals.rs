//! How the intervals of a difference narrow over time: a panel for each candidate.

use super::{
    Scale,
    axis::Axis,
    paper::{
        Area, BLUE, Entry, GREY, INK, PALE, Sample, VERMILION, WIDTH, font, inner, line, outer, sheet, small,
        undrawn, write,
    },
};
use anyhow::Result;
use plotters::{
    chart::ChartBuilder,
    element::{Circle, PathElement, Polygon},
    series::{DashedLineSeries, LineSeries},
    style::{Color as _, FontStyle},
};

const PANEL: u32 = 330;
const BELOW: u32 = 30;
/// Up to so many points each has a dot.
const DOTTED: usize = 40;
/// The first intervals are very wide; this share of the points may be cut off by the frame.
const CUT: f64 = 0.25;
/// A margin this many times farther out than the intervals is not shown: they would become a line.
const FAR: f64 = 3.0;

/// What is known at one moment, in the unit of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct Point {
    /// Milliseconds since 1970.
    pub(in crate::cli) at_ms: i64,
    pub(in crate::cli) estimate: f64,
    pub(in crate::cli) always_valid: (f64, f64),
    pub(in crate::cli) fixed: (f64, f64),
}

/// One candidate over time.
#[derive(Debug)]
pub(in crate::cli) struct Course {
    pub(in crate::cli) variant: String,
    pub(in crate::cli) points: Vec<Point>,
}

/// The whole picture; at least one course has a point.
#[derive(Debug)]
pub(in crate::cli) struct Intervals {
    pub(in crate::cli) title: String,
    pub(in crate::cli) subtitle: String,
    /// What the courses are compared with.
    pub(in crate::cli) control: String,
    /// What is measured.
    pub(in crate::cli) quantity: String,
    pub(in crate::cli) scale: Scale,
    /// Differences up to this are as good as none.
    pub(in crate::cli) margin: Option<f64>,
    pub(in crate::cli) courses: Vec<Course>,
}

/// Draws it.
///
/// # Errors
/// Drawing failed.
pub(in crate::cli) fn svg(picture: &Intervals) -> Result<String> {
    let reach = picture.reach();
    let margin = picture.margin.filter(|margin| *margin <= FAR * reach);
    let panels = picture.courses.len() as u32;
    let legend = legend(margin.is_some());
    sheet(
        &picture.title,
        &picture.subtitle,
        &legend,
        PANEL * panels + BELOW,
        |area| {
            let (above, below) = area.split_vertically(PANEL * panels);
            let parts = above.split_evenly((picture.courses.len(), 1));
            for (part, course) in parts.iter().zip(&picture.courses) {
                panel(part, picture, course, margin)?;
            }
            let words = "time (UTC); every point is made from all rows up to it";
            let x = (WIDTH as i32 - super::paper::width(words, 14.0)) / 2;
            write(&below, (x, 0), words, &small(INK))
        },
    )
}

impl Intervals {
    /// How far the shown part reaches from 0.
    fn reach(&self) -> f64 {
        let (low, high) = self.range();
        low.abs().max(high.abs())
    }

    /// From the lowest to the highest that must be seen: every estimate, and most intervals.
    fn range(&self) -> (f64, f64) {
        let points = self.courses.iter().flat_map(|course| {
            let cut = (course.points.len() as f64 * CUT) as usize;
            let late = course.points.iter().skip(cut).map(|point| point.always_valid);
            // An estimate of the first moments may be far off too.
            let ends = course
                .points
                .iter()
                .skip(cut / 2)
                .map(|point| (point.estimate, point.estimate));
            late.chain(ends)
        });
        points.fold((0.0, 0.0), |(low, high): (f64, f64), (l, h)| {
            (low.min(l), high.max(h))
        })
    }
}

fn legend(margin: bool) -> Vec<Entry> {
    let mut legend = vec![
        (Sample::Outer, "always-valid 95 % interval".to_owned()),
        (Sample::Inner, "fixed-size 95 % interval".to_owned()),
        (Sample::Line(BLUE), "estimate".to_owned()),
        (Sample::Line(GREY), "no difference".to_owned()),
    ];
    if margin {
        legend.push((Sample::Dashes(VERMILION), "± margin".to_owned()));
    }
    legend
}

fn panel(area: &Area<'_>, picture: &Intervals, course: &Course, margin: Option<f64>) -> Result<()> {
    let all = || picture.courses.iter().flat_map(|course| &course.points);
    let ends = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(first, last), point| {
        let at = point.at_ms as f64;
        (first.min(at), last.max(at))
    });
    let (low, high) = picture.range();
    let (low, high) = margin.map_or((low, high), |margin| (low.min(-margin), high.max(margin)));
    let room = 0.06 * (high - low);
    let times = Axis::times(ends.0, ends.1, 7);
    let values = Axis::numbers(low - room, high + room, 6);
    let heading = format!("{} − {}", course.variant, picture.control);
    write(area, (96, 4), &heading, &font(15.0, FontStyle::Bold, INK))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(50)
        .margin_left(10)
        .x_label_area_size(34)
        .y_label_area_size(84)
        .build_cartesian_2d(times.clone(), values.clone())
        .map_err(undrawn)?;
    let label = match picture.scale {
        Scale::Points => "difference in percentage points".to_owned(),
        Scale::Number => format!("difference in {}", super::paper::shortened(&picture.quantity, 24)),
    };
    chart
        .configure_mesh()
        .light_line_style(PALE.mix(0.0))
        .bold_line_style(PALE)
        .axis_style(GREY)
        .label_style(small(INK))
        .axis_desc_style(small(INK))
        .y_desc(label)
        .x_label_formatter(&|value| times.label(*value))
        .y_label_formatter(&|value| values.label(*value))
        .draw()
        .map_err(undrawn)?;

    let at = |point: &Point| times.within(point.at_ms as f64);
    let single = course.points.len() == 1;
    let bands = [
        (Point::outer as fn(&Point) -> (f64, f64), outer(), 14),
        (Point::inner, inner(), 7),
    ];
    for (ends, color, thick) in bands {
        let lower = course
            .points
            .iter()
            .map(|point| (at(point), values.within(ends(point).0)));
        let upper = course
            .points
            .iter()
            .rev()
            .map(|point| (at(point), values.within(ends(point).1)));
        let outline: Vec<_> = lower.chain(upper).collect();
        if single {
            let bar = PathElement::new(outline, color.stroke_width(thick));
            chart.draw_series([bar]).map_err(undrawn)?;
        } else if !outline.is_empty() {
            let band = Polygon::new(outline, color.filled());
            chart.draw_series([band]).map_err(undrawn)?;
        }
    }
    let across = |value: f64| vec![(times.low(), value), (times.high(), value)];
    chart
        .draw_series(LineSeries::new(across(0.0), line(GREY, 2)))
        .map_err(undrawn)?;
    for margin in margin.into_iter().flat_map(|margin| [-margin, margin]) {
        chart
            .draw_series(DashedLineSeries::new(across(margin), 8, 5, line(VERMILION, 2)))
            .map_err(undrawn)?;
    }
    let estimates = || {
        course
            .points
            .iter()
            .map(|point| (at(point), values.within(point.estimate)))
    };
    chart
        .draw_series(LineSeries::new(estimates(), line(BLUE, 3)))
        .map_err(undrawn)?;
    if course.points.len() <= DOTTED {
        chart
            .draw_series(estimates().map(|place| Circle::new(place, 4, BLUE.filled())))
            .map_err(undrawn)?;
    }
    Ok(())
}

impl Point {
    fn outer(&self) -> (f64, f64) {
        self.always_valid
    }

    fn inner(&self) -> (f64, f64) {
        self.fixed
    }
}
