//! Every call of this listener: the one table of who may make which.
//!
//! The routes and the OpenAPI document are both made from it, so a call that is not here does not exist, and none is
//! without a role or a description. Method, address, parameters and answers stand with each handler.

use super::{
    Shared,
    access::Least,
    apply, audit, events, examples, experiments, keys, openapi, ops, outlook, performance,
    prompts::{deploy, diff, evidence, history, labels, read, register, render},
    steps, timeseries,
};
use crate::domain::token::Role;
use utoipa_axum::{router::UtoipaMethodRouter, routes};

/// A handler, and the least that its caller needs.
pub(super) type Call = (Least, UtoipaMethodRouter<Shared>);

const VIEWER: Least = Least::Role(Role::Viewer);
const EXPERIMENTER: Least = Least::Role(Role::Experimenter);
const OPERATOR: Least = Least::Role(Role::Operator);
const ADMIN: Least = Least::Role(Role::Admin);

/// All calls. Whoever may start something must be able to make it safe again, so hold
/// and freeze need no more than start, and a rollback no more than a registration; what gives users a version that they
/// were protected from needs an operator.
pub(super) fn calls() -> Vec<Call> {
    vec![
        (VIEWER, routes!(experiments::list)),
        (EXPERIMENTER, routes!(experiments::create)),
        (VIEWER, routes!(experiments::read)),
        (EXPERIMENTER, routes!(experiments::change)),
        (VIEWER, routes!(experiments::results)),
        (VIEWER, routes!(timeseries::read)),
        (VIEWER, routes!(outlook::read)),
        (EXPERIMENTER, routes!(steps::start)),
        (EXPERIMENTER, routes!(steps::stop)),
        (EXPERIMENTER, routes!(steps::hold)),
        (EXPERIMENTER, routes!(steps::freeze)),
        (OPERATOR, routes!(steps::resume)),
        (OPERATOR, routes!(steps::promote)),
        (EXPERIMENTER, routes!(apply::apply)),
        (VIEWER, routes!(read::list)),
        (EXPERIMENTER, routes!(register::create)),
        (VIEWER, routes!(read::read)),
        (EXPERIMENTER, routes!(register::change)),
        (VIEWER, routes!(diff::read)),
        (VIEWER, routes!(render::render_version)),
        (EXPERIMENTER, routes!(evidence::evaluate)),
        (EXPERIMENTER, routes!(evidence::review)),
        (OPERATOR, routes!(deploy::deploy)),
        (EXPERIMENTER, routes!(deploy::roll_back)),
        (VIEWER, routes!(history::read)),
        (EXPERIMENTER, routes!(labels::label)),
        (EXPERIMENTER, routes!(labels::tag)),
        (VIEWER, routes!(performance::read)),
        (VIEWER, routes!(examples::read)),
        (EXPERIMENTER, routes!(experiments::create_for_prompt)),
        (ADMIN, routes!(keys::rotate)),
        (VIEWER, routes!(audit::read)),
        (VIEWER, routes!(events::read)),
        (VIEWER, routes!(openapi::read)),
        (Least::Scrape, routes!(ops::metrics)),
        (Least::Nothing, routes!(ops::healthy)),
        (Least::Nothing, routes!(ops::ready)),
    ]
}
