//! How the chance to find an effect grows with the size of the sample.

use super::{
    axis::Axis,
    paper::{BLUE, Entry, GREEN, GREY, INK, PALE, PURPLE, Sample, VERMILION, line, sheet, small, undrawn},
};
use anyhow::Result;
use plotters::{
    chart::ChartBuilder,
    series::{DashedLineSeries, LineSeries},
    style::{Color as _, RGBColor},
};

const HEIGHT: u32 = 460;
/// The most effects that lines can be told apart for.
pub(in crate::cli) const MOST_EFFECTS: usize = 4;
const COLORS: [RGBColor; MOST_EFFECTS] = [BLUE, VERMILION, GREEN, PURPLE];

/// One effect.
#[derive(Debug)]
pub(in crate::cli) struct Curve {
    pub(in crate::cli) effect: String,
    /// Size and power in [0, 1] of the test at a fixed size.
    pub(in crate::cli) fixed: Vec<(f64, f64)>,
    /// Of the always-valid interval.
    pub(in crate::cli) always_valid: Vec<(f64, f64)>,
}

/// The whole picture.
#[derive(Debug)]
pub(in crate::cli) struct PowerCurves {
    pub(in crate::cli) title: String,
    pub(in crate::cli) subtitle: String,
    /// What the sizes count.
    pub(in crate::cli) quantity: String,
    /// The power sought.
    pub(in crate::cli) sought: f64,
    /// At most [`MOST_EFFECTS`].
    pub(in crate::cli) curves: Vec<Curve>,
}

/// Draws it.
///
/// # Errors
/// Drawing failed.
pub(in crate::cli) fn svg(picture: &PowerCurves) -> Result<String> {
    let points = || {
        picture
            .curves
            .iter()
            .flat_map(|curve| curve.fixed.iter().chain(&curve.always_valid))
    };
    let (low, high) = points().fold((f64::INFINITY, 0.0f64), |(low, high), (size, _)| {
        (low.min(*size), high.max(*size))
    });
    sheet(
        &picture.title,
        &picture.subtitle,
        &legend(picture),
        HEIGHT,
        |area| {
            let sizes = Axis::ratios(low, high);
            let shares = Axis::numbers(0.0, 100.0, 5);
            let mut chart = ChartBuilder::on(area)
                .margin_top(12)
                .margin_right(34)
                .margin_left(10)
                .x_label_area_size(54)
                .y_label_area_size(84)
                .build_cartesian_2d(sizes.clone(), shares.clone())
                .map_err(undrawn)?;
            chart
                .configure_mesh()
                .light_line_style(PALE.mix(0.0))
                .bold_line_style(PALE)
                .axis_style(GREY)
                .label_style(small(INK))
                .axis_desc_style(small(INK))
                .x_desc(picture.quantity.as_str())
                .y_desc("power in %")
                .x_label_formatter(&|value| sizes.label(*value))
                .y_label_formatter(&|value| shares.label(*value))
                .draw()
                .map_err(undrawn)?;
            let sought = [
                (sizes.low(), 100.0 * picture.sought),
                (sizes.high(), 100.0 * picture.sought),
            ];
            chart
                .draw_series(LineSeries::new(sought, line(GREY, 1)))
                .map_err(undrawn)?;
            for (curve, color) in picture.curves.iter().zip(COLORS) {
                let place = |(size, power): &(f64, f64)| (*size, 100.0 * power);
                chart
                    .draw_series(LineSeries::new(curve.fixed.iter().map(place), line(color, 3)))
                    .map_err(undrawn)?;
                let dashes: Vec<_> = curve.always_valid.iter().map(place).collect();
                chart
                    .draw_series(DashedLineSeries::new(dashes, 9, 5, line(color, 3)))
                    .map_err(undrawn)?;
            }
            Ok(())
        },
    )
}

fn legend(picture: &PowerCurves) -> Vec<Entry> {
    let effects = picture.curves.iter().zip(COLORS);
    let mut legend: Vec<Entry> = effects
        .map(|(curve, color)| (Sample::Line(color), curve.effect.clone()))
        .collect();
    legend.push((Sample::Line(INK), "fixed size".to_owned()));
    legend.push((Sample::Dashes(INK), "always valid, at one look".to_owned()));
    let sought = format!("power sought: {:.0} %", 100.0 * picture.sought);
    legend.push((Sample::Line(GREY), sought));
    legend
}
