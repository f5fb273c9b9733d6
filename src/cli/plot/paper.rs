//! The sheet everything is drawn on: its head with title and legend, its letters and its colours.

use crate::cli::table;
use anyhow::{Result, anyhow};
use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _},
    element::{Circle, PathElement, Rectangle},
    style::{
        Color as _, FontDesc, FontFamily, FontStyle, RGBAColor, RGBColor, ShapeStyle, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::fmt::Display;

pub(super) const WIDTH: u32 = 1000;
/// Space left of the head's text.
pub(super) const LEFT: i32 = 24;
const LEGEND_AT: i32 = 74;
const LEGEND_LINE: i32 = 22;
/// The width of a letter as a share of the font's height, on the safe side.
const LETTER: f64 = 0.56;
const LEGEND_SIZE: f64 = 14.0;

// Okabe & Ito (2008), "Color Universal Design".
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const SKY: RGBColor = RGBColor(86, 180, 233);
pub(super) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(super) const PURPLE: RGBColor = RGBColor(204, 121, 167);
pub(super) const INK: RGBColor = RGBColor(30, 30, 30);
pub(super) const GREY: RGBColor = RGBColor(95, 95, 95);
pub(super) const PALE: RGBColor = RGBColor(226, 226, 226);

/// The outer band: light, so that the inner one and lines stand out.
pub(super) fn outer() -> RGBAColor {
    SKY.mix(0.35)
}

/// The inner band.
pub(super) fn inner() -> RGBAColor {
    BLUE.mix(0.4)
}

/// A part of the sheet.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What a legend shows in front of its words.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    Outer,
    Inner,
    Dot,
    Line(RGBColor),
    Dashes(RGBColor),
}

/// One entry of a legend.
pub(super) type Entry = (Sample, String);

/// Draws on a white sheet with a title, a line below it and a legend; `draw` gets what is below.
pub(super) fn sheet(
    title: &str,
    subtitle: &str,
    legend: &[Entry],
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let lines = legend_lines(legend);
    let head = LEGEND_AT + LEGEND_LINE * lines.len() as i32 + 8;
    let mut svg = String::new();
    {
        let root =
            SVGBackend::with_string(&mut svg, (WIDTH, head.unsigned_abs() + height)).into_drawing_area();
        root.fill(&WHITE).map_err(undrawn)?;
        let (above, below) = root.split_vertically(head);
        write(&above, (LEFT, 18), title, &font(23.0, FontStyle::Bold, INK))?;
        write(&above, (LEFT, 48), subtitle, &font(14.0, FontStyle::Normal, GREY))?;
        let mut y = LEGEND_AT;
        for line in lines {
            for (x, (sample, words)) in line {
                self::sample(&above, (x, y), *sample)?;
                write(&above, (x + 40, y), words, &small(INK))?;
            }
            y += LEGEND_LINE;
        }
        draw(&below)?;
        root.present().map_err(undrawn)?;
    }
    // Read aloud by programs that cannot see.
    let named = format!("<title>{}</title>\n", escaped(title));
    let at = svg.find(">\n").map_or(0, |end| end + 2);
    svg.insert_str(at, &named);
    Ok(svg)
}

/// Writes text whose upper left corner is there.
pub(super) fn write(area: &Area<'_>, at: (i32, i32), text: &str, style: &TextStyle<'_>) -> Result<()> {
    area.draw_text(&table::plain(text), style, at).map_err(undrawn)
}

pub(super) fn font(size: f64, style: FontStyle, color: RGBColor) -> TextStyle<'static> {
    FontDesc::new(FontFamily::SansSerif, size * 1.24, style)
        .color(&color)
        .pos(Pos::new(HPos::Left, VPos::Top))
}

pub(super) fn small(color: RGBColor) -> TextStyle<'static> {
    font(LEGEND_SIZE, FontStyle::Normal, color)
}

/// About how wide a text is, in pixels.
pub(super) fn width(text: &str, size: f64) -> i32 {
    (text.chars().count() as f64 * size * LETTER).ceil() as i32
}

/// At most so many characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

pub(super) fn line(color: RGBColor, width: u32) -> ShapeStyle {
    ShapeStyle::from(&color).stroke_width(width)
}

pub(super) fn undrawn<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error
where
    DrawingAreaErrorKind<E>: Display,
{
    anyhow!("cannot draw: {error}")
}

fn legend_lines(legend: &[Entry]) -> Vec<Vec<(i32, &Entry)>> {
    let most = i32::try_from(WIDTH).unwrap_or(i32::MAX) - LEFT;
    let mut lines: Vec<Vec<(i32, &Entry)>> = Vec::new();
    let mut x = most;
    for entry in legend {
        let needs = 40 + width(&entry.1, LEGEND_SIZE) + 18;
        if x + needs > most || lines.is_empty() {
            lines.push(Vec::new());
            x = LEFT;
        }
        if let Some(line) = lines.last_mut() {
            line.push((x, entry));
        }
        x += needs;
    }
    lines
}

fn sample(area: &Area<'_>, (x, y): (i32, i32), sample: Sample) -> Result<()> {
    let middle = y + 8;
    let band = |color: RGBAColor| Rectangle::new([(x, y + 1), (x + 32, y + 15)], color.filled());
    match sample {
        Sample::Outer => area.draw(&band(outer())),
        // As in the picture, where it lies on the outer one.
        Sample::Inner => area.draw(&band(outer())).and_then(|()| area.draw(&band(inner()))),
        Sample::Dot => area.draw(&Circle::new((x + 16, middle), 5, BLUE.filled())),
        Sample::Line(color) => area.draw(&PathElement::new(
            vec![(x, middle), (x + 32, middle)],
            line(color, 2),
        )),
        Sample::Dashes(color) => (0..3).try_for_each(|dash| {
            let from = x + 12 * dash;
            area.draw(&PathElement::new(
                vec![(from, middle), (from + 8, middle)],
                line(color, 2),
            ))
        }),
    }
    .map_err(undrawn)
}

fn escaped(text: &str) -> String {
    let text = table::plain(text);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
