//! The gate of an environment: the evidence a version needs before it is served there.

use super::{
    evaluation::{EvaluationBundle, EvaluationRecord},
    finding::{Finding, FindingCode},
    review::{ReviewKind, ReviewRecord, missing_reviews},
};
use crate::domain::id::VersionNumber;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The environments there are without anybody saying so.
pub const ENVIRONMENTS: [&str; 3] = ["development", "staging", "production"];

/// What an environment asks for. One that asks for nothing is open: it follows the files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The least score of an evaluation, in [0, 1].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// The least score by segment, in [0, 1].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segment_floors: BTreeMap<String, f64>,
    /// How much more a version may cost than the deployed one before somebody has to accept it, as a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_increase: Option<f64>,
    /// How much slower it may be, as a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_increase: Option<f64>,
    /// Approvals it needs, of different people.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reviews: BTreeSet<ReviewKind>,
}

/// What is known of a version when it comes to a gate.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The digest of what would be served.
    pub digest: &'a str,
    /// The newest evaluation of that digest.
    pub evaluation: Option<&'a EvaluationRecord>,
    /// Every review of the version.
    pub reviews: &'a [Arc<ReviewRecord>],
    /// What is deployed there now.
    pub deployed: Option<VersionNumber>,
}

impl Gate {
    /// Whether anything is asked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    fn asks_for_an_evaluation(&self) -> bool {
        let Self {
            min_score,
            segment_floors,
            max_cost_increase,
            max_latency_increase,
            reviews: _,
        } = self;
        min_score.is_some()
            || !segment_floors.is_empty()
            || max_cost_increase.is_some()
            || max_latency_increase.is_some()
    }

    /// Everything that is missing, or has to be accepted; empty when the gate is passed.
    ///
    /// ```
    /// use serin::domain::prompt::{Evidence, Gate};
    /// let gate = Gate { min_score: Some(0.9), ..Gate::default() };
    /// let missing = gate.missing(Evidence { digest: "d", evaluation: None, reviews: &[], deployed: None });
    /// assert_eq!(missing[0].code.as_str(), "not_evaluated");
    /// ```
    #[must_use]
    pub fn missing(&self, evidence: Evidence<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.asks_for_an_evaluation() {
            match evidence.evaluation {
                None => findings.push(Finding::new(
                    FindingCode::NotEvaluated,
                    "evaluation",
                    format!(
                        "there is no evaluation of this content (digest {:.12}…)",
                        evidence.digest
                    ),
                    "evaluate it and attach the bundle to the version",
                )),
                Some(record) => self.judge(&record.bundle, evidence.deployed, &mut findings),
            }
        }
        findings.extend(missing_reviews(evidence.reviews, &self.reviews, evidence.digest));
        findings
    }

    fn judge(&self, bundle: &EvaluationBundle, deployed: Option<VersionNumber>, findings: &mut Vec<Finding>) {
        let again = "register a better version, or attach a newer evaluation of this one";
        let least = self.min_score.unwrap_or(0.0).max(bundle.threshold);
        if bundle.score < least {
            let problem = format!("the score is {}, and {least} is the least", bundle.score);
            findings.push(Finding::new(FindingCode::ScoreTooLow, "score", problem, again));
        }
        for (segment, floor) in &self.segment_floors {
            match bundle.segments.get(segment) {
                None => findings.push(Finding::new(
                    FindingCode::SegmentNotEvaluated,
                    segment,
                    format!("the evaluation has no such segment, and its floor is {floor}"),
                    "attach an evaluation with this segment",
                )),
                Some(result) if result.score < *floor => {
                    let problem = format!("the score is {}, and {floor} is the least", result.score);
                    findings.push(Finding::new(FindingCode::SegmentTooLow, segment, problem, again));
                }
                Some(_) => {}
            }
        }
        // A first version has nothing to be compared with.
        let Some(deployed) = deployed else { return };
        let cost = (self.max_cost_increase, bundle.cost_increase);
        let codes = [FindingCode::CostUnknown, FindingCode::CostIncrease];
        increase("cost_increase", cost, codes, findings);
        let latency = (self.max_latency_increase, bundle.latency_increase);
        let codes = [FindingCode::LatencyUnknown, FindingCode::LatencyIncrease];
        increase("latency_increase", latency, codes, findings);
        let bounded = self.max_cost_increase.is_some() || self.max_latency_increase.is_some();
        if bounded && bundle.compared_with.is_some_and(|compared| compared != deployed) {
            let compared = bundle.compared_with.unwrap_or_default();
            findings.push(Finding::new(
                FindingCode::OtherBaseline,
                "compared_with",
                format!("it was compared with version {compared}, and version {deployed} is deployed"),
                "attach an evaluation against the deployed version, or accept other_baseline",
            ));
        }
    }
}

fn increase(
    place: &str,
    (most, found): (Option<f64>, Option<f64>),
    [unknown, above]: [FindingCode; 2],
    findings: &mut Vec<Finding>,
) {
    let Some(most) = most else { return };
    match found {
        None => findings.push(Finding::new(
            unknown,
            place,
            format!("the evaluation does not say it, and {most} is the most that passes unasked"),
            format!("attach an evaluation with `{place}`"),
        )),
        Some(found) if found > most => findings.push(Finding::new(
            above,
            place,
            format!("is {found}, and {most} is the most that passes unasked"),
            format!("accept {above}, or register a version that needs less"),
        )),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Timestamp, id::Revision};
    use serde_json::{Value, json};

    fn missing(gate: Value, bundle: Value, deployed: Option<u32>) -> Vec<String> {
        let gate: Gate = serde_json::from_value(gate).unwrap();
        let record = EvaluationRecord {
            revision: Revision(1),
            at: Timestamp::default(),
            actor: "ci".into(),
            bundle: serde_json::from_value(bundle).unwrap(),
        };
        let evidence = Evidence {
            digest: "d",
            evaluation: Some(&record),
            reviews: &[],
            deployed: deployed.map(VersionNumber),
        };
        gate.missing(evidence)
            .iter()
            .map(|finding| format!("{}:{}", finding.code, finding.place))
            .collect()
    }

    #[test]
    fn each_part_of_a_gate_has_its_finding() {
        let good = json!({"score": 0.9, "threshold": 0.8});
        assert_eq!(
            missing(json!({}), json!({"score": 0.1, "threshold": 0.8}), None),
            [""; 0],
            "an open gate"
        );
        assert_eq!(
            missing(json!({"min_score": 0.9}), good.clone(), None),
            [""; 0],
            "at the threshold"
        );
        assert_eq!(
            missing(json!({"min_score": 0.95}), good.clone(), None),
            ["score_too_low:score"]
        );
        assert_eq!(
            missing(
                json!({"min_score": 0.5}),
                json!({"score": 0.7, "threshold": 0.8}),
                None
            ),
            ["score_too_low:score"],
            "the suite asks for more than the gate"
        );
        assert_eq!(
            missing(
                json!({"segment_floors": {"de": 0.8, "fr": 0.8}}),
                json!({"score": 1, "threshold": 0, "segments": {"de": {"score": 0.79}}}),
                None
            ),
            ["segment_too_low:de", "segment_not_evaluated:fr"]
        );
        let bounded = json!({"max_cost_increase": 0.1, "max_latency_increase": 0.1});
        assert_eq!(
            missing(bounded.clone(), good.clone(), None),
            [""; 0],
            "nothing to compare with"
        );
        assert_eq!(
            missing(bounded.clone(), good, Some(1)),
            ["cost_unknown:cost_increase", "latency_unknown:latency_increase"]
        );
        assert_eq!(
            missing(
                bounded,
                json!({"score": 1, "threshold": 0, "cost_increase": 0.11, "latency_increase": 0.1, "compared_with": 1}),
                Some(2)
            ),
            ["cost_increase:cost_increase", "other_baseline:compared_with"]
        );
    }
}
