//! Every figure of `stats` against the values of `tests/reference`, each within the tolerance its case
//! states. Run with `--nocapture` to see how much of its tolerance each field used.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy takes the helpers of an integration test for production code"
)]

mod bayes;
mod cuped;
mod harness;
mod multiple_testing;
mod power;
mod proportions;
mod quantiles;
mod ratio_cluster;
mod sequential;
mod srm;
mod welch;
