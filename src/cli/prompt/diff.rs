//! `serin prompt diff`: two versions, as `diff -u` writes it, with colours on a terminal.

use super::{named::Named, refusal::Subject};
use crate::cli::{
    Global,
    client::segment,
    figures::{list, text},
    paint::Paint,
    table::plain,
};
use anstyle::{AnsiColor, Effects, Style};
use anyhow::Result;
use serde_json::Value;
use std::ops::Range;

const NAMES: Style = Style::new().effects(Effects::BOLD);
const PLACE: Style = AnsiColor::Cyan.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const ADDED: Style = AnsiColor::Green.on_default();

/// What differs between two versions, of the prompt and of its config
///
/// On a terminal lines are coloured and changed words stand out; NO_COLOR and CLICOLOR_FORCE are followed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Diff {
    #[command(flatten)]
    of: Named,
    /// The earlier version: its semver, its number, or a label such as production
    #[arg(value_name = "FROM", required_unless_present = "from")]
    earlier: Option<String>,
    /// The later version
    #[arg(value_name = "TO", required_unless_present = "to")]
    later: Option<String>,
    /// The same
    #[arg(long, value_name = "VERSION", conflicts_with = "earlier", requires = "to")]
    from: Option<String>,
    /// The same
    #[arg(long, value_name = "VERSION", conflicts_with = "later")]
    to: Option<String>,
    /// With what they include put in
    #[arg(long)]
    resolved: bool,
}

/// Shows the difference.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(asked: &Diff, global: &Global) -> Result<()> {
    let subject = Subject::prompt(&asked.of.name);
    let answer = asked.of.get(global, &subject, &asked.path())?;
    answer.print(global.json, |answer| shown(answer, Paint::for_output()))
}

impl Diff {
    fn path(&self) -> String {
        let version = |placed: &Option<String>, flagged: &Option<String>| {
            let version = placed.as_ref().or(flagged.as_ref());
            version.map_or_else(String::new, |version| segment(version))
        };
        let (from, to) = (version(&self.earlier, &self.from), version(&self.later, &self.to));
        let resolved = if self.resolved { "&resolved=true" } else { "" };
        format!("/diff?from={from}&to={to}{resolved}")
    }
}

fn shown(answer: &Value, paint: Paint) -> String {
    let parts = [&answer["content"], &answer["config"]];
    let mut out: String = parts.into_iter().map(|part| painted(part, paint)).collect();
    if out.is_empty() {
        let name = |member: &str| {
            answer[member]
                .as_str()
                .map_or_else(|| answer[member].to_string(), plain)
        };
        out = format!(
            "{}: {} and {} do not differ\n",
            plain(text(answer, "name")),
            name("from"),
            name("to")
        );
    }
    out
}

/// The difference of one text: the heading that the server gave it, then its hunks.
fn painted(part: &Value, paint: Paint) -> String {
    let unified = text(part, "unified");
    let mut out = String::new();
    for line in unified.lines().take_while(|line| !line.starts_with("@@")) {
        out.push_str(&paint.paint(NAMES, &clean(line)));
        out.push('\n');
    }
    let words = list(&part["words"]);
    let (removed, added) = (changed(words, "removed"), changed(words, "added"));
    for hunk in list(&part["hunks"]) {
        let number = |member: &str| hunk[member].as_u64().unwrap_or_default();
        let (from, to) = (number("from_line"), number("to_line"));
        let place = format!(
            "@@ -{from},{} +{to},{} @@",
            number("from_lines"),
            number("to_lines")
        );
        out.push_str(&paint.paint(PLACE, &place));
        out.push('\n');
        // Lines count from 1.
        let (mut from, mut to) = (index(from), index(to));
        for line in list(&hunk["lines"]) {
            let written = text(line, "text");
            let painted = match text(line, "change") {
                "removed" => {
                    from += 1;
                    changed_line(paint, REMOVED, '-', written, spans(&removed, from - 1))
                }
                "added" => {
                    to += 1;
                    changed_line(paint, ADDED, '+', written, spans(&added, to - 1))
                }
                _ => {
                    (from, to) = (from + 1, to + 1);
                    format!(" {}", clean(written))
                }
            };
            out.push_str(&painted);
            out.push('\n');
        }
    }
    out
}

fn index(line: u64) -> usize {
    usize::try_from(line).unwrap_or_default().saturating_sub(1)
}

fn spans(lines: &[Vec<Range<usize>>], line: usize) -> &[Range<usize>] {
    lines.get(line).map_or(&[], Vec::as_slice)
}

/// A line in its colour, with its changed words standing out. Where nothing is left of the line, none does.
fn changed_line(paint: Paint, style: Style, sign: char, line: &str, spans: &[Range<usize>]) -> String {
    let mut out = paint.paint(style, &sign.to_string());
    let mut at = 0;
    let mut kept = String::new();
    let mut words = String::new();
    for span in spans {
        let (start, end) = (span.start.min(line.len()), span.end.min(line.len()));
        let (Some(before), Some(word)) = (line.get(at..start), line.get(start..end)) else {
            continue;
        };
        kept.push_str(before);
        words.push_str(&paint.paint(style, &clean(before)));
        words.push_str(&paint.paint(style.effects(Effects::INVERT), &clean(word)));
        at = end;
    }
    let rest = line.get(at..).unwrap_or_default();
    kept.push_str(rest);
    if kept.trim().is_empty() {
        out.push_str(&paint.paint(style, &clean(line)));
    } else {
        out.push_str(&words);
        out.push_str(&paint.paint(style, &clean(rest)));
    }
    out
}

/// Where the words of one side stand in the lines of its text, in bytes.
fn changed(words: &[Value], side: &str) -> Vec<Vec<Range<usize>>> {
    let mut lines = vec![Vec::new()];
    let mut column = 0;
    for piece in words {
        let change = text(piece, "change");
        if change != "same" && change != side {
            continue;
        }
        for (index, part) in text(piece, "text").split('\n').enumerate() {
            if index > 0 {
                lines.push(Vec::new());
                column = 0;
            }
            let end = column + part.len();
            if let Some(line) = lines.last_mut()
                && change == side
                && end > column
            {
                line.push(column..end);
            }
            column = end;
        }
    }
    lines
}

/// Text from elsewhere, on one line; tabs stay, as in any source.
fn clean(line: &str) -> String {
    line.split('\t').map(plain).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::prompt::{Config, PromptContent},
        report::prompt_diff::PromptDifference,
    };
    use serde_json::json;

    fn answer(from: &str, to: &str) -> Value {
        let [before, after] = [from, to].map(|text| PromptContent::Text(text.to_owned()));
        let found = PromptDifference::between((&before, &Config::new()), (&after, &Config::new()));
        let part = |difference: &crate::report::prompt_diff::TextDifference| {
            let mut part = json!(difference);
            part["unified"] = json!(difference.unified("1.0.0", "1.1.0"));
            part
        };
        json!({"name": "a", "from": "1.0.0", "to": "1.1.0", "content": part(&found.content),
            "config": part(&found.config)})
    }

    #[test]
    fn without_colours_it_is_what_the_server_wrote() {
        let answer = answer("Be kind.\n\tBe short.\n-- x", "Be kind.\n\tBe brief.\n-- y");
        assert_eq!(
            shown(&answer, Paint::Nothing),
            text(&answer["content"], "unified")
        );
        let same = self::answer("a", "a");
        assert_eq!(shown(&same, Paint::Nothing), "a: 1.0.0 and 1.1.0 do not differ\n");
    }

    #[test]
    fn changed_words_stand_out_and_lines_with_nothing_left_do_not() {
        let answer = answer("one\nBe very short.\nold", "one\nBe very brief.\nnew");
        let lines: Vec<String> = shown(&answer, Paint::Colours)
            .lines()
            .map(str::to_owned)
            .collect();
        assert_eq!(
            lines[4..],
            [
                "\u{1b}[31m-\u{1b}[0m\u{1b}[31mBe very \u{1b}[0m\u{1b}[7m\u{1b}[31mshort.\u{1b}[0m",
                "\u{1b}[31m-\u{1b}[0m\u{1b}[31mold\u{1b}[0m",
                "\u{1b}[32m+\u{1b}[0m\u{1b}[32mBe very \u{1b}[0m\u{1b}[7m\u{1b}[32mbrief.\u{1b}[0m",
                "\u{1b}[32m+\u{1b}[0m\u{1b}[32mnew\u{1b}[0m",
            ]
        );
        assert_eq!(
            lines[..3],
            [
                "\u{1b}[1m--- 1.0.0\u{1b}[0m",
                "\u{1b}[1m+++ 1.1.0\u{1b}[0m",
                "\u{1b}[36m@@ -1,3 +1,3 @@\u{1b}[0m"
            ]
        );
    }

    #[test]
    fn a_prompt_cannot_steer_the_terminal() {
        let answer = answer("a", "a\u{1b}[2Jb");
        assert!(!shown(&answer, Paint::Colours).contains("\u{1b}[2J"));
    }
}
