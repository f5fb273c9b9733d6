//! Posteriors of a difference and of two rates.

use crate::harness::{at, each_case};
use serde_json::Value;
use serin::stats::{
    bayesian::{Beta, NormalPrior, Posterior, Scale, beta_binomial, effect, gaussian_effect},
    difference::Estimate,
};

/// Control's or treatment's mean from its sums, with the variance of the mean.
fn estimate(metric: &str, sums: &Value) -> Estimate {
    let given = |name: &str| sums[name].as_f64().unwrap();
    let n = given("n");
    let mean = given("sum") / n;
    let variance = if metric == "proportion" {
        mean * (1.0 - mean) / n
    } else {
        (given("sum_squares") - mean * given("sum")) / (n - 1.0) / n
    };
    Estimate { mean, variance }
}

#[test]
fn normal_posteriors() {
    each_case("bayes.json", 300, |case, compared| {
        let Some(metric) = case.input["metric"].as_str() else {
            return;
        };
        let scale = match case.input["difference"].as_str() {
            Some("relative") => Scale::Relative,
            _ => Scale::Absolute,
        };
        let given = |name: &str| at(case.input, &format!("prior.{name}")).as_f64().unwrap();
        let prior = case.input["prior"]["proper"]
            .as_bool()
            .unwrap()
            .then(|| NormalPrior {
                mean: given("mean"),
                variance: given("variance"),
            });
        let (a, b) = (
            estimate(metric, &case.input["a"]),
            estimate(metric, &case.input["b"]),
        );
        let found = gaussian_effect(a, b, scale, prior, 0.05).unwrap();
        let Posterior { mean, sd, .. } = found;
        compared.number(case, "post_mean", mean);
        compared.number(case, "post_sd", sd);
        for belief in [found, effect(mean, sd, 0.05).unwrap()] {
            compared.number(case, "chance_to_win", belief.chance_to_beat);
            compared.number(case, "risk_control", belief.risk_control);
            compared.number(case, "risk_treatment", belief.risk_treatment);
            compared.pair(case, "ci95", belief.ci);
        }
        if prior.is_none() && scale == Scale::Absolute {
            let direct = effect(b.mean - a.mean, (a.variance + b.variance).sqrt(), 0.05).unwrap();
            compared.number(case, "chance_to_win", direct.chance_to_beat);
            compared.number(case, "risk_control", direct.risk_control);
            compared.number(case, "risk_treatment", direct.risk_treatment);
        }
    });
}

#[test]
fn beta_posteriors() {
    each_case("bayes.json", 150, |case, compared| {
        if case.input["metric"].is_string() {
            return;
        }
        let given = |name: &str| case.input[name].as_u64().unwrap();
        let parameter = |name: &str| case.input[name].as_f64().unwrap();
        let prior = Beta::new(parameter("prior_alpha"), parameter("prior_beta")).unwrap();
        let a = prior.after(given("x_a"), given("n_a")).unwrap();
        let b = prior.after(given("x_b"), given("n_b")).unwrap();
        let found = beta_binomial(&a, &b, 0.05).unwrap();
        compared.number(case, "chance_b_beats_a", found.chance_to_beat);
        compared.number(case, "expected_loss_choosing_b", found.risk_treatment);
        compared.number(case, "expected_loss_choosing_a", found.risk_control);
        compared.number(case, "mean_a", found.control.mean);
        compared.number(case, "mean_b", found.treatment.mean);
        compared.pair(case, "ci95_a", found.control.ci);
        compared.pair(case, "ci95_b", found.treatment.ci);
    });
}
