//! The demo's live table: redrawn in place on a terminal, one plain line per second anywhere else.

use super::{
    gateway::Tally,
    look::Look,
    script::{CANARY, Play, TEST},
};
use crate::cli::{
    figures::{count, p_value, percent, points, rate, shortened, text},
    output,
    results::gauge,
    table::Table,
};
use anyhow::Result;
use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

/// Where the demo shows what goes on.
#[derive(Debug)]
pub(super) enum Board {
    /// Nowhere: only the end is told.
    Silent,
    /// Redrawn in place; how many lines the last drawing had.
    Terminal(usize),
    /// A line per second; the last second told.
    Lines(Option<u64>),
}

impl Board {
    /// The board that fits standard output.
    pub(super) fn new(silent: bool) -> Self {
        if silent {
            Self::Silent
        } else if io::stdout().is_terminal() {
            Self::Terminal(0)
        } else {
            Self::Lines(None)
        }
    }

    /// Shows the present state.
    ///
    /// # Errors
    /// Those of [`output::print()`].
    pub(super) fn draw(&mut self, elapsed: Duration, tally: &Tally, look: &Look) -> Result<()> {
        match self {
            Self::Silent => Ok(()),
            Self::Terminal(lines) => {
                let drawing = drawing(elapsed, tally, look);
                let over = redrawn(*lines, &drawing);
                *lines = drawing.lines().count();
                output::print(&over)
            }
            Self::Lines(last) => {
                if *last == Some(elapsed.as_secs()) {
                    return Ok(());
                }
                *last = Some(elapsed.as_secs());
                output::print(&line(elapsed, tally, look))
            }
        }
    }
}

/// A drawing that takes the place of the last one: up to its first line, each line cleared, no wrapping meanwhile.
fn redrawn(last_lines: usize, drawing: &str) -> String {
    let up = if last_lines > 0 {
        format!("\x1b[{last_lines}F")
    } else {
        String::new()
    };
    let lines: String = drawing.lines().map(|line| format!("\x1b[2K{line}\n")).collect();
    format!("\x1b[?7l{up}{lines}\x1b[0J\x1b[?7h")
}

fn drawing(elapsed: Duration, tally: &Tally, look: &Look) -> String {
    let mut table = Table::new(&[
        "experiment",
        "arm",
        ">share",
        ">requests",
        "rate",
        "difference",
        "evidence of harm",
        "state",
    ]);
    for play in [&TEST, &CANARY] {
        let experiment = look.experiment(play);
        let rates = look.rates(play);
        for (index, arm) in [&play.control, &play.candidate].into_iter().enumerate() {
            let is_control = index == 0;
            let share = experiment["variants"][index]["share"].as_f64();
            table.row([
                if is_control {
                    play.experiment.to_owned()
                } else {
                    String::new()
                },
                arm.name.to_owned(),
                share.map_or_else(dash, percent),
                count(tally.arm(play, arm)),
                format!("{} {}", rates[index].map_or_else(dash, rate), play.metric),
                if is_control {
                    String::new()
                } else {
                    difference(play, look)
                },
                if is_control {
                    String::new()
                } else {
                    look.evidence(play).map_or_else(dash, gauge)
                },
                if is_control {
                    text(experiment, "state").to_owned()
                } else {
                    String::new()
                },
            ]);
        }
    }
    format!("{}\n\n{table}", headline(elapsed, tally))
}

fn line(elapsed: Duration, tally: &Tally, look: &Look) -> String {
    let arms = |play: &Play| {
        let [control, candidate] = look.rates(play).map(|found| found.map_or_else(dash, rate));
        format!(
            "{} {}: {} {control} of {}, {} {candidate} of {}, {}",
            play.experiment,
            text(look.experiment(play), "state"),
            play.control.name,
            count(tally.arm(play, &play.control)),
            play.candidate.name,
            count(tally.arm(play, &play.candidate)),
            difference(play, look),
        )
    };
    let evidence = look
        .evidence(&CANARY)
        .map_or_else(dash, |evidence| shortened(evidence, 2));
    format!(
        "{}; {}; {}, evidence {evidence}\n",
        headline(elapsed, tally),
        arms(&TEST),
        arms(&CANARY)
    )
}

fn headline(elapsed: Duration, tally: &Tally) -> String {
    format!(
        "{:.0} s, {} decisions, {} outcomes",
        elapsed.as_secs_f64(),
        count(tally.decisions),
        count(tally.outcomes)
    )
}

/// Points and p-value for the test, the ratio of the rates for the canary.
fn difference(play: &Play, look: &Look) -> String {
    if play.metric == CANARY.metric {
        return match look.rates(play) {
            [Some(control), Some(candidate)] if control > 0.0 => {
                format!("{} times", shortened(candidate / control, 2))
            }
            _ => dash(),
        };
    }
    let versus = look.comparison();
    let Some(difference) = versus["difference"].as_f64() else {
        return dash();
    };
    let p = versus["always_valid"]["p"].as_f64().or(versus["p"].as_f64());
    let p = p.map_or_else(String::new, |p| format!(", p {}", p_value(p)));
    format!("{} points{p}", points(difference))
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_without_data_has_dashes() {
        let drawing = drawing(Duration::from_secs(2), &Tally::default(), &Look::default());
        let lines: Vec<&str> = drawing.lines().collect();
        assert_eq!(lines.len(), 7, "{drawing}");
        assert_eq!(lines[0], "2 s, 0 decisions, 0 outcomes");
        assert!(
            lines[6].contains("candidate") && lines[6].contains("– fallback"),
            "{drawing}"
        );
        let line = line(Duration::from_secs(2), &Tally::default(), &Look::default());
        assert_eq!(line.lines().count(), 1, "{line}");
    }

    #[test]
    fn a_drawing_takes_the_place_of_the_last() {
        assert_eq!(redrawn(0, "a\nb"), "\x1b[?7l\x1b[2Ka\n\x1b[2Kb\n\x1b[0J\x1b[?7h");
        assert!(redrawn(2, "a\nb").starts_with("\x1b[?7l\x1b[2F\x1b[2Ka\n"));
    }
}
