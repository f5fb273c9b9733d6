//! Evaluation bundles in a JSON body.
//!
//! Owns the keys. What their values may be is [`EvaluationBundle::problems`]' business, which is asked here too, so
//! that one answer tells everything.

use super::{
    document::Document,
    reader::{Field, Report, Table},
};
use crate::domain::{
    problem::Problem,
    prompt::{
        EvaluationBundle, VersionRef,
        evaluation::{Regression, SegmentResult},
    },
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The largest count of cases.
const MOST_CASES: u64 = 1_000_000_000_000;

/// A bundle from a JSON body, without the version it was compared with, which comes as it was written: only the catalog
/// knows its number.
///
/// # Errors
/// Everything that is wrong with it, by field.
pub fn evaluation_from_json(body: &Value) -> Result<(EvaluationBundle, Option<VersionRef>), Vec<Problem>> {
    let document = Document::json(body);
    let report = Report::default();
    let read = Table::root(&document.root, &report).map(bundle);
    let mut all = report.into_problems();
    let Some((bundle, compared_with)) = read else {
        return Err(all);
    };
    let told = |problem: &Problem| all.iter().any(|known| known.field == problem.field);
    let broken: Vec<_> = bundle
        .problems()
        .into_iter()
        .filter(|problem| !told(problem))
        .collect();
    all.extend(broken);
    if all.is_empty() {
        Ok((bundle, compared_with))
    } else {
        Err(all)
    }
}

fn bundle(mut root: Table<'_>) -> (EvaluationBundle, Option<VersionRef>) {
    let score = root.required("score", "the result of the whole, from 0 to 1");
    let threshold = root.required(
        "threshold",
        "the least score that the suite asks for, from 0 to 1",
    );
    let number = |field: Option<Field<'_>>| field.and_then(|field| field.number());
    let bundle = EvaluationBundle {
        digest: root.optional("digest").and_then(|field| digest(&field)),
        score: number(score).unwrap_or_default(),
        threshold: number(threshold).unwrap_or_default(),
        segments: root
            .optional("segments")
            .and_then(|field| segments(&field))
            .unwrap_or_default(),
        compared_with: None,
        regressions: root
            .optional("regressions")
            .and_then(|field| Some(field.list()?.iter().filter_map(regression).collect()))
            .unwrap_or_default(),
        latency_increase: number(root.optional("latency_increase")),
        cost_increase: number(root.optional("cost_increase")),
        expected_changes: root
            .optional("expected_changes")
            .and_then(|field| Some(field.list()?.iter().filter_map(text).collect()))
            .unwrap_or_default(),
        run: root.optional("run").and_then(|field| text(&field)),
    };
    let compared_with = root.optional("compared_with").and_then(|field| field.version());
    root.finish();
    (bundle, compared_with)
}

fn text(field: &Field<'_>) -> Option<String> {
    field.text().map(str::to_owned)
}

/// As [`crate::domain::prompt::content_digest`] writes it.
fn digest(field: &Field<'_>) -> Option<String> {
    let digest = field.text()?;
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Some(digest.to_ascii_lowercase())
    } else {
        field.expected("the 64 hex digits of a digest")
    }
}

fn segments(field: &Field<'_>) -> Option<BTreeMap<String, SegmentResult>> {
    let table = field.table()?;
    let segment = |(name, field): (&str, Field<'_>)| {
        let mut table = field.table()?;
        let score = table.required("score", "the segment's result, from 0 to 1");
        let cases = table
            .optional("cases")
            .and_then(|field| field.whole(0..=MOST_CASES));
        table.finish();
        let score = score?.number()?;
        Some((name.to_owned(), SegmentResult { score, cases }))
    };
    Some(table.fields().filter_map(segment).collect())
}

fn regression(field: &Field<'_>) -> Option<Regression> {
    let mut table = field.table()?;
    let case = table.required("case", "which case went worse");
    let regression = Regression {
        case: case.and_then(|field| text(&field)).unwrap_or_default(),
        before: table.optional("before").and_then(|field| field.number()),
        after: table.optional("after").and_then(|field| field.number()),
        note: table.optional("note").and_then(|field| text(&field)),
    };
    table.finish();
    Some(regression)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::VersionNumber;
    use serde_json::json;

    #[test]
    fn every_mistake_is_told_once() {
        let body = json!({
            "score": "0.9", "treshold": 0.9, "segments": {"de": {"score": 2}, "fr": {}}, "digest": "abc",
            "regressions": [{"before": -1}], "latency_increase": 200, "compared_with": "x", "run": "ftp://a",
        });
        let problems = evaluation_from_json(&body).unwrap_err();
        let mut fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        fields.sort_unstable();
        let expected = [
            "compared_with",
            "digest",
            "latency_increase",
            "regressions[0].before",
            "regressions[0].case",
            "run",
            "score",
            "segments.de.score",
            "segments.fr.score",
            "threshold",
            "treshold",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_bundle_is_what_serde_would_read() {
        let body = json!({
            "score": 0.9, "threshold": 0.8, "segments": {"de": {"score": 0.7, "cases": 12}}, "cost_increase": 0.1,
            "regressions": [{"case": "c", "before": 1.0, "after": 0.5, "note": "n"}], "expected_changes": ["shorter"],
        });
        let expected: EvaluationBundle = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(evaluation_from_json(&body), Ok((expected, None)));
        let compared = json!({"score": 1, "threshold": 1, "compared_with": 2});
        let (_, compared) = evaluation_from_json(&compared).unwrap();
        assert_eq!(compared, Some(VersionRef::Number(VersionNumber(2))));
    }
}
