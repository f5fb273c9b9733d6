//! All differences below each other: a row for each metric and candidate, as shares of control's mean.

use super::{
    axis::Axis,
    intervals::Point,
    paper::{
        BLUE, Entry, GREY, INK, LEFT, PALE, Sample, VERMILION, WIDTH, inner, line, outer, sheet, shortened,
        small, undrawn, width, write,
    },
};
use anyhow::Result;
use plotters::{
    chart::ChartBuilder,
    element::{Circle, PathElement, Rectangle},
    series::DashedLineSeries,
    style::Color as _,
};

const ROW: i32 = 38;
const AXIS: i32 = 54;
const LONGEST_NAME: usize = 40;
/// Where the numbers of a row are written.
const NUMBERS: i32 = 210;
/// Intervals this many times wider than the middle one are cut off by the frame; their numbers say how wide.
const WIDE: f64 = 6.0;

/// One comparison.
#[derive(Debug)]
pub(in crate::cli) struct Row {
    pub(in crate::cli) metric: String,
    pub(in crate::cli) variant: String,
    /// In per cent of control's mean, or why there is none.
    pub(in crate::cli) interval: Result<Point, String>,
    /// Differences up to this many per cent are as good as none.
    pub(in crate::cli) margin: f64,
}

/// The whole picture; at least one row has an interval.
#[derive(Debug)]
pub(in crate::cli) struct Forest {
    pub(in crate::cli) title: String,
    pub(in crate::cli) subtitle: String,
    pub(in crate::cli) rows: Vec<Row>,
}

/// Draws it.
///
/// # Errors
/// Drawing failed.
pub(in crate::cli) fn svg(picture: &Forest) -> Result<String> {
    let count = i32::try_from(picture.rows.len()).unwrap_or(i32::MAX / ROW);
    let names: Vec<String> = picture
        .rows
        .iter()
        .map(|row| shortened(&format!("{}: {}", row.metric, row.variant), LONGEST_NAME))
        .collect();
    let left = names.iter().map(|name| width(name, 14.0)).max().unwrap_or(0) + LEFT + 16;
    let reach = reach(&picture.rows);
    let margin = picture.rows.iter().map(|row| row.margin).fold(0.0, f64::max);
    let margin = (margin > 0.0 && margin <= 3.0 * reach).then_some(margin);
    let reach = margin.map_or(reach, |margin| reach.max(1.15 * margin));
    let legend = legend(margin.is_some());
    let height = (count * ROW + AXIS).unsigned_abs();
    sheet(&picture.title, &picture.subtitle, &legend, height, |area| {
        let differences = Axis::numbers(-1.05 * reach, 1.05 * reach, 7);
        let rows = Axis::numbers(0.0, f64::from(count), 1);
        let mut chart = ChartBuilder::on(area)
            .margin_left(left)
            .margin_right(NUMBERS)
            .x_label_area_size(AXIS)
            .build_cartesian_2d(differences.clone(), rows)
            .map_err(undrawn)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(PALE.mix(0.0))
            .bold_line_style(PALE)
            .axis_style(GREY)
            .label_style(small(INK))
            .axis_desc_style(small(INK))
            .x_desc("difference in % of control's mean")
            .x_label_formatter(&|value| differences.label(*value))
            .draw()
            .map_err(undrawn)?;
        let down = |value: f64| [(value, 0.0), (value, f64::from(count))];
        chart
            .draw_series([PathElement::new(down(0.0), line(GREY, 2))])
            .map_err(undrawn)?;
        for margin in margin.into_iter().flat_map(|margin| [-margin, margin]) {
            chart
                .draw_series(DashedLineSeries::new(down(margin), 8, 5, line(VERMILION, 2)))
                .map_err(undrawn)?;
        }
        for ((index, row), name) in (0..).zip(&picture.rows).zip(&names) {
            let top = index * ROW + ROW / 2 - 8;
            write(area, (LEFT, top), name, &small(INK))?;
            let Ok(point) = &row.interval else { continue };
            let middle = f64::from(count - index) - 0.5;
            let bars = [(point.always_valid, outer(), 0.3), (point.fixed, inner(), 0.16)];
            for ((low, high), color, half) in bars {
                let corners = [
                    (differences.within(low), middle - half),
                    (differences.within(high), middle + half),
                ];
                chart
                    .draw_series([Rectangle::new(corners, color.filled())])
                    .map_err(undrawn)?;
            }
            let place = (differences.within(point.estimate), middle);
            chart
                .draw_series([Circle::new(place, 5, BLUE.filled())])
                .map_err(undrawn)?;
        }
        for (index, row) in (0..).zip(&picture.rows) {
            let top = index * ROW + ROW / 2 - 8;
            let right = i32::try_from(WIDTH).unwrap_or(i32::MAX) - NUMBERS + 12;
            match &row.interval {
                Ok(point) => write(area, (right, top), &numbers(point), &small(INK))?,
                Err(reason) => {
                    let most = usize::try_from((right - left) / 9).unwrap_or(20);
                    write(
                        area,
                        (left + 8, top),
                        &shortened(&format!("– {reason}"), most),
                        &small(GREY),
                    )?;
                }
            }
        }
        Ok(())
    })
}

fn reach(rows: &[Row]) -> f64 {
    let points = rows.iter().filter_map(|row| row.interval.as_ref().ok());
    let mut reaches: Vec<f64> = points
        .map(|point| point.always_valid.0.abs().max(point.always_valid.1.abs()))
        .collect();
    reaches.sort_by(f64::total_cmp);
    let middle = reaches.get(reaches.len() / 2).copied().unwrap_or(1.0);
    reaches
        .last()
        .copied()
        .unwrap_or(1.0)
        .min(WIDE * middle)
        .max(f64::MIN_POSITIVE)
}

fn numbers(point: &Point) -> String {
    let signed = |value: f64| format!("{value:+.2}").replace('-', "−");
    let (low, high) = point.always_valid;
    format!("{} % [{}, {}]", signed(point.estimate), signed(low), signed(high))
}

fn legend(margin: bool) -> Vec<Entry> {
    let mut legend = vec![
        (Sample::Outer, "always-valid 95 % interval".to_owned()),
        (Sample::Inner, "fixed-size 95 % interval".to_owned()),
        (Sample::Dot, "estimate".to_owned()),
        (Sample::Line(GREY), "no difference".to_owned()),
    ];
    if margin {
        legend.push((Sample::Dashes(VERMILION), "± margin".to_owned()));
    }
    legend
}
