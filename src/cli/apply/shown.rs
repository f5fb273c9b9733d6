//! A plan as a person reads it: what changes and how, how traffic moves, then the steps.

use super::super::{
    figures::{list, percent, text},
    preflight::{exclusions, forecast, warnings},
    table::{indented, plain},
};
use serde_json::Value;
use std::fmt::Write as _;

/// The longest value shown of a field, in characters.
const LONGEST_VALUE: usize = 60;

/// The answer of an apply.
pub(super) fn plan(answer: &Value, server: &str) -> String {
    let dry_run = answer["dry_run"].as_bool().unwrap_or(false);
    let changes = list(&answer["changes"]);
    let (set, unchanged) = (plain(text(answer, "set")), &answer["unchanged"]);
    let mut out = format!(
        "set {set}, server {server} at revision {}\n\n",
        answer["revision"]
    );
    if list(&answer["steps"]).is_empty() {
        let _ = writeln!(out, "= {unchanged} unchanged: nothing to do");
        return out;
    }
    for change in changes {
        out.push_str(&told(change));
    }
    let _ = writeln!(out, "= {unchanged} unchanged");
    let parts = [
        list(&answer["preflight"])
            .iter()
            .map(forecast)
            .collect::<String>(),
        exclusions(&answer["exclusions"]),
        warnings(&answer["warnings"]),
        steps(answer, dry_run),
    ];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let _ = write!(out, "\n{part}");
    }
    let end = if dry_run {
        "nothing was changed: a dry run".to_owned()
    } else {
        format!("done, at revision {}", answer["log_revision"])
    };
    let _ = write!(out, "\n{end}\n");
    out
}

fn steps(answer: &Value, dry_run: bool) -> String {
    let steps = list(&answer["steps"]).iter().filter_map(Value::as_str);
    let lines: String = steps.map(|step| format!("{}\n", plain(step))).collect();
    let title = if dry_run { "steps to take" } else { "steps taken" };
    format!("{title}:\n{}", indented(&lines))
}

fn told(change: &Value) -> String {
    let sign = match text(change, "action") {
        "create" => "+",
        "stop" => "-",
        _ => "~",
    };
    let kind = text(change, "kind").replace('_', " ");
    let notes: Vec<String> = list(&change["notes"])
        .iter()
        .filter_map(Value::as_str)
        .map(plain)
        .collect();
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(": {}", notes.join("; "))
    };
    let mut out = format!("{sign} {} {}{notes}\n", plain(&kind), plain(text(change, "name")));
    let fields = list(&change["fields"]);
    let widest = fields
        .iter()
        .map(|field| text(field, "field").chars().count())
        .max();
    for field in fields {
        let name = plain(text(field, "field"));
        let (from, to) = (value(&field["from"]), value(&field["to"]));
        let _ = writeln!(out, "    {name:<0$}  {from} → {to}", widest.unwrap_or(0));
    }
    if change["traffic"].is_object() {
        for line in traffic(&change["traffic"]) {
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}

/// A field's value on one line; `–` where it is not there.
fn value(value: &Value) -> String {
    let written = match value {
        Value::Null => return "–".to_owned(),
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| number.to_string(), |number| number.to_string()),
        other => other.to_string(),
    };
    let written = plain(&written);
    if written.chars().count() <= LONGEST_VALUE {
        return written;
    }
    let short: String = written.chars().take(LONGEST_VALUE - 1).collect();
    format!("{short}…")
}

fn traffic(shift: &Value) -> Vec<String> {
    let share = |member: &str| shift[member].as_f64().unwrap_or(0.0);
    let (before, after) = (share("enrolled_from"), share("enrolled_to"));
    let mut lines = Vec::new();
    let variants = list(&shift["variants"]);
    let arms = |from_only: bool| {
        let arm = |arm: &Value| {
            let of = |member: &str| percent(arm[member].as_f64().unwrap_or(0.0));
            let name = plain(text(arm, "variant"));
            match (from_only, of("from") == of("to")) {
                (true, _) => format!("{name} {}", of("to")),
                (false, true) => format!("{name} stays at {}", of("to")),
                (false, false) => format!("{name} {} → {}", of("from"), of("to")),
            }
        };
        variants.iter().map(arm).collect::<Vec<_>>().join(", ")
    };
    if before == 0.0 {
        lines.push(format!("{} of its audience join: {}", percent(after), arms(true)));
    } else if after == 0.0 {
        lines.push(format!("{} of its audience leave it", percent(before)));
    } else {
        lines.push(format!(
            "split: {}; {} of its units move, {} keep their variant",
            arms(false),
            percent(share("move_between")),
            percent(share("keep"))
        ));
        if share("join") > 0.0 || share("leave") > 0.0 {
            lines.push(format!(
                "enrolled: {} → {} of its audience; {} join, {} leave",
                percent(before),
                percent(after),
                percent(share("join")),
                percent(share("leave"))
            ));
        }
    }
    for arm in variants {
        if let (Some(version), Some(of)) = (arm["version"].as_str(), arm["to"].as_f64()) {
            lines.push(format!(
                "{} gets version {}: {} of its units see other content",
                plain(text(arm, "variant")),
                plain(version),
                percent(of)
            ));
        }
    }
    lines.extend(shift["unknown"].as_str().map(plain));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reweight_is_told_field_by_field_and_in_shares_of_traffic() {
        let answer = json!({
            "set": "config", "dry_run": true, "revision": 17, "log_revision": 17, "unchanged": 5,
            "changes": [{
                "action": "change", "kind": "experiment", "name": "tone", "notes": [],
                "fields": [
                    {"field": "traffic", "from": 0.5, "to": 0.8},
                    {"field": "variants[control].weight", "from": 50.0, "to": 40.0},
                    {"field": "variants[warm].weight", "from": 50.0, "to": 60.0}],
                "traffic": {
                    "enrolled_from": 0.5, "enrolled_to": 0.8, "join": 0.3, "leave": 0.0, "move_between": 0.1,
                    "keep": 0.9, "variants": [
                        {"variant": "control", "from": 0.5, "to": 0.4}, {"variant": "warm", "from": 0.5, "to": 0.6}]}}],
            "steps": ["change experiment tone"], "exclusions": [], "warnings": ["a\u{1b}b"], "preflight": []});
        assert_eq!(
            plan(&answer, "http://127.0.0.1:8788"),
            "set config, server http://127.0.0.1:8788 at revision 17\n\
             \n\
             ~ experiment tone\n    \
                 traffic                   0.5 → 0.8\n    \
                 variants[control].weight  50 → 40\n    \
                 variants[warm].weight     50 → 60\n    \
                 split: control 50 % → 40 %, warm 50 % → 60 %; 10 % of its units move, 90 % keep their variant\n    \
                 enrolled: 50 % → 80 % of its audience; 30 % join, 0 % leave\n\
             = 5 unchanged\n\
             \n\
             warning: a b\n\
             \n\
             steps to take:\n  \
               change experiment tone\n\
             \n\
             nothing was changed: a dry run\n"
        );
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        let answer = json!({"set": "config", "dry_run": false, "revision": 17, "unchanged": 6, "changes": [],
            "steps": []});
        let told = plan(&answer, "s");
        assert!(told.ends_with("\n= 6 unchanged: nothing to do\n"), "{told}");
    }
}
