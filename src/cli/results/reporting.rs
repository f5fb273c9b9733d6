//! Whether what was decided is reported back, as a table.

use super::{
    super::{
        evidence,
        figures::{counted, figure, list, rate, text},
        table::{Table, indented},
    },
    gauge,
};
use crate::domain::guardrail::Limit;
use serde_json::Value;

/// The section with its heading, one row for each of `arms`; empty for a server that does not tell.
pub(super) fn shown(report: &Value, arms: &[&str]) -> String {
    let reporting = &report["reporting"];
    let mut table = Table::new(&[
        "variant",
        ">requests",
        ">unreported",
        "99 % within",
        "evidence",
        "harm starts",
    ]);
    let known = arms
        .iter()
        .filter(|name| reporting["variants"][**name].is_object());
    for name in known {
        let arm = &reporting["variants"][*name];
        let silence = list(&reporting["outcome_missing"]);
        let silence = silence.iter().find(|silence| text(silence, "variant") == *name);
        table.row([
            (*name).to_owned(),
            counted(&arm["requests"]),
            figure(&arm["missing_share"], rate),
            figure(&arm["delay_p99_s"], |seconds| format!("{seconds:.0} s")),
            silence.map_or_else(String::new, |silence| figure(&silence["evidence"], gauge)),
            silence.map_or_else(String::new, harm_starts),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    let title = "reporting (requests old enough to have been reported, since the evidence began)";
    format!("\n{title}\n{}", indented(&table.to_string()))
}

fn harm_starts(silence: &Value) -> String {
    serde_json::from_value::<Limit>(silence["limit"].clone())
        .map_or_else(|_| silence["limit"].to_string(), |limit| evidence::limit(&limit))
}
