//! What gateways call: decide, report outcomes, fetch prompts, health. Reads one table and leaves records; no store on the way of a
//! decision.

use super::{
    metrics::ResponseCounts,
    problem::Problem,
    prompt_fetch::{self, PromptFetch},
    server::{Body, Handler, read_body},
    wire::{self, DecideRequest, MOST_PROMPTS, OutcomesAnswer, RejectedItem},
};
use crate::{
    clock::Clock,
    collector::{
        Collector, SubmitError,
        exposures::{DEPLOYED, DecisionRecord, NO_EXPERIMENT},
    },
    domain::{
        audience::{Attributes, Value},
        id::{Epoch, PromptKey},
    },
    routing::{
        answer::{Cause, Reason},
        assign::{Assignment, assign, walk},
        drain,
        explain::{NoObserver, Observer, Recorder},
        live::LiveTable,
        receipt::{Receipt, ReceiptText},
        table::{NoRoute, Route, RoutingTable},
    },
};
use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use percent_encoding::percent_decode_str;
use std::{cell::Cell, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The largest body of a decision.
pub const DECIDE_BODY_BYTES: usize = 65_536;

/// Where a decision asked with GET brings the receipt of its conversation; its query parameters are the context.
const RECEIPT_HEADER: &str = "x-serin-receipt";

/// The handler of the data plane; clones share it.
#[derive(Debug, Clone)]
pub struct DataPlane(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    table: Arc<LiveTable>,
    collector: Collector,
    clock: Clock,
    body_bytes: usize,
    body_time: Duration,
    responses: ResponseCounts,
    prompts: PromptFetch,
}

impl DataPlane {
    /// From what it reads (the table) and where it leaves records (the collector). `body_bytes` caps bodies of
    /// outcomes, `body_time` is the longest a body may take; `responses` counts answers by status, and `prompts`
    /// answers whoever fetches prompts themselves.
    #[must_use]
    pub fn new(
        table: Arc<LiveTable>,
        collector: Collector,
        clock: Clock,
        body_bytes: usize,
        body_time: Duration,
        responses: ResponseCounts,
        prompts: PromptFetch,
    ) -> Self {
        Self(Arc::new(Parts {
            table,
            collector,
            clock,
            body_bytes,
            body_time,
            responses,
            prompts,
        }))
    }
}

impl Handler for DataPlane {
    type Body = Body;

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let parts = &*self.0;
        let answered = match request.uri().path() {
            "/v1/decide" => match *request.method() {
                Method::POST => parts.decide_posted(request).await,
                _ => Err(not_allowed("POST")),
            },
            "/v1/outcomes" => match *request.method() {
                Method::POST => parts.outcomes(request).await,
                _ => Err(not_allowed("POST")),
            },
            "/healthz" => readable(&request).map(|()| plain("ok\n")),
            "/readyz" => readable(&request).and_then(|()| parts.ready()),
            path => match path.strip_prefix("/v1/decide/") {
                Some(prompt) => {
                    let receipt = request.headers().get(RECEIPT_HEADER);
                    let receipt = receipt.and_then(|receipt| receipt.to_str().ok());
                    readable(&request)
                        .and_then(|()| parts.decide_asked(prompt, request.uri().query(), receipt))
                }
                None if path.starts_with(prompt_fetch::ROOT) => {
                    let (head, _) = request.into_parts();
                    Ok(parts.prompts.answer(&parts.table, &head).await)
                }
                None => Err(Problem::new(
                    StatusCode::NOT_FOUND,
                    "NOT_FOUND",
                    format!("nothing is served at {path}"),
                )
                .into()),
            },
        };
        let response = answered.unwrap_or_else(|refused| *refused.0);
        parts.responses.count(response.status());
        response
    }
}

/// An answer that is an error, ready to be sent.
struct Refused(Box<Response<Body>>);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem.into_response()))
    }
}

type Answered = Result<Response<Body>, Refused>;

/// What a decision was asked with, besides the prompt and the context.
#[derive(Clone, Copy)]
struct Asked<'a> {
    environment: Option<&'a str>,
    receipt: Option<&'a str>,
    content: bool,
    explain: bool,
    expose: bool,
}

impl Parts {
    async fn decide_posted(&self, request: Request<Incoming>) -> Answered {
        let body = read_body(request.into_body(), DECIDE_BODY_BYTES, self.body_time)
            .await
            .map_err(Problem::from)?;
        let began = timed();
        let request: DecideRequest<'_> = wire::parse(&body)?;
        let asked = Asked {
            environment: request
                .environment
                .as_ref()
                .map(|environment| environment.0.as_ref()),
            receipt: request.receipt.as_ref().map(|receipt| receipt.0.as_ref()),
            content: request.content,
            explain: request.explain,
            expose: request.expose,
        };
        let table = self.table.load();
        match (&request.prompt, &request.prompts) {
            (Some(prompt), None) => Ok(json(self.decide(
                &table,
                &prompt.0,
                &request.context,
                asked,
                began,
            )?)),
            (None, Some(prompts)) if prompts.len() <= MOST_PROMPTS => {
                let mut body = b"{\"decisions\":[".to_vec();
                for (index, prompt) in prompts.iter().enumerate() {
                    if index > 0 {
                        body.push(b',');
                    }
                    match self.decide(&table, &prompt.0, &request.context, asked, began) {
                        Ok(decision) => body.extend_from_slice(&decision),
                        Err(problem) => {
                            let error = serde_json::json!({"code": problem.code, "detail": problem.detail});
                            let item = serde_json::json!({"prompt": prompt.0, "error": error});
                            body.extend_from_slice(item.to_string().as_bytes());
                        }
                    }
                }
                body.extend_from_slice(b"]}");
                Ok(json(body))
            }
            (None, Some(_)) => Err(bad_request(format!(
                "`prompts` names more than {MOST_PROMPTS} prompts: split the batch"
            ))
            .into()),
            (Some(_), Some(_)) => Err(bad_request("give `prompt` or `prompts`, not both").into()),
            (None, None) => {
                Err(bad_request("missing field `prompt` (a name) or `prompts` (a list of names)").into())
            }
        }
    }

    fn decide_asked(&self, prompt: &str, query: Option<&str>, receipt: Option<&str>) -> Answered {
        let began = timed();
        let prompt = percent_decode_str(prompt)
            .decode_utf8()
            .map_err(|_| bad_request("the prompt's name in the path is not UTF-8"))?;
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let context = Attributes::new(pairs.map(|(name, value)| (name, Value::Text(value))).collect());
        let asked = Asked {
            environment: None,
            receipt,
            content: false,
            explain: false,
            expose: true,
        };
        Ok(json(self.decide(
            &self.table.load(),
            &prompt,
            &context,
            asked,
            began,
        )?))
    }

    /// One decision as JSON. The table was loaded once by the caller.
    fn decide(
        &self,
        table: &RoutingTable,
        prompt: &str,
        context: &Attributes<'_>,
        asked: Asked<'_>,
        began: Option<Instant>,
    ) -> Result<Vec<u8>, Problem> {
        let route = table
            .route(prompt, asked.environment)
            .map_err(|reason| no_route(table, prompt, asked, reason))?;
        let mut steps = None;
        let assignment = if asked.explain {
            let mut recorder = Recorder::default();
            let assignment = walk(route, context, &mut recorder);
            let assignment = self.kept(table, assignment, context, asked, &mut recorder);
            steps = Some(recorder.steps);
            assignment
        } else {
            let assignment = assign(route, context);
            self.kept(table, assignment, context, asked, &mut NoObserver)
        };
        let receipt = if asked.expose {
            self.receipt(table, &assignment, context)
        } else {
            None
        };
        let answer = assignment.answer;
        let receipt = receipt.as_deref();
        let (reason, cause) = (assignment.reason, assignment.cause);
        let length = answer.length(reason, cause, receipt, &table.revision_text);
        // The closing brace included; what else is asked for makes it grow.
        let mut body = Vec::with_capacity(length + 1);
        answer.write_open(
            &mut body,
            assignment.reason,
            assignment.cause,
            receipt,
            &table.revision_text,
        );
        if asked.content {
            body.extend_from_slice(b",\"content\":");
            body.extend_from_slice(answer.content().as_bytes());
        }
        if let Some(steps) = steps {
            body.extend_from_slice(b",\"explain\":");
            body.extend_from_slice(&serde_json::to_vec(&steps).unwrap_or_default());
        }
        body.push(b'}');
        self.record(route, &assignment, asked.expose, began);
        Ok(body)
    }

    /// What a conversation keeps by its receipt while a freeze drains; anything else stays as it was assigned.
    #[inline]
    fn kept<'t>(
        &self,
        table: &RoutingTable,
        assignment: Assignment<'t>,
        context: &Attributes<'_>,
        asked: Asked<'_>,
        observer: &mut impl Observer,
    ) -> Assignment<'t> {
        let (Some(Cause::Frozen), Some(receipt)) = (assignment.cause, asked.receipt) else {
            return assignment;
        };
        let signed = (&table.receipt_keys, receipt);
        drain::kept(&assignment, signed, context, self.clock.unix_second(), observer).unwrap_or(assignment)
    }

    #[inline]
    fn receipt(
        &self,
        table: &RoutingTable,
        assignment: &Assignment<'_>,
        context: &Attributes<'_>,
    ) -> Option<ReceiptText> {
        let (unit_hash, experiment, arm) = (
            assignment.unit_hash?,
            assignment.experiment?,
            assignment.answer.arm?,
        );
        let (process, sequence) = super::sequence::next();
        table.receipt_keys.sign(&Receipt {
            experiment: experiment.key,
            epoch: experiment.epoch,
            arm,
            unit_hash,
            second: u32::try_from(self.clock.unix_second()).unwrap_or(0),
            process,
            sequence,
            profile: experiment.profile.as_ref().map(|rule| rule.profile(context)),
        })
    }

    #[inline]
    fn record(&self, route: &Route, assignment: &Assignment<'_>, expose: bool, began: Option<Instant>) {
        // A look is no decision that anybody acts on.
        if !expose {
            return;
        }
        let prompt: PromptKey = route.prompt;
        self.collector.recorder().record(DecisionRecord {
            prompt,
            experiment: assignment
                .experiment
                .map_or(NO_EXPERIMENT, |experiment| experiment.key),
            epoch: assignment
                .experiment
                .map_or(Epoch(0), |experiment| experiment.epoch),
            arm: assignment.answer.arm.unwrap_or(DEPLOYED),
            reason: assignment.reason,
            counted: assignment.reason == Reason::Split,
            unit_hash: assignment.unit_hash.unwrap_or(0),
            duration_ns: began.map(|began| u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX)),
        });
    }

    async fn outcomes(&self, request: Request<Incoming>) -> Answered {
        let lines = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let essence = value
                .as_bytes()
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            essence.trim_ascii().eq_ignore_ascii_case(b"application/x-ndjson")
        });
        let body = read_body(request.into_body(), self.body_bytes, self.body_time)
            .await
            .map_err(Problem::from)?;
        let mut answer = OutcomesAnswer::default();
        let observations = self.resolve(&body, lines, &mut answer)?;
        if !observations.is_empty() {
            let counted = self
                .collector
                .submit(observations)
                .await
                .map_err(submit_problem)?;
            answer.accepted = counted.accepted;
            answer.duplicates = counted.duplicates;
        }
        Ok(json(serde_json::to_vec(&answer).unwrap_or_default()))
    }

    /// Checks every item by itself; the refused ones go to `answer`.
    fn resolve(
        &self,
        body: &[u8],
        lines: bool,
        answer: &mut OutcomesAnswer,
    ) -> Result<Vec<crate::collector::observation::Observation>, Problem> {
        let items = wire::read_outcomes(body, lines)?;
        let intake = self.collector.intake();
        let now = self.clock.now();
        let mut observations = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let item = match item {
                Ok(item) => item,
                Err(rejected) => {
                    self.collector.count_rejected(None);
                    answer.rejected.push(rejected);
                    continue;
                }
            };
            let unit = item.numeric_unit();
            let raw = item.raw(unit.as_deref(), index);
            match intake.resolve(&raw, now) {
                Ok(observation) => observations.push(observation),
                Err(rejection) => {
                    let known = raw.experiment.and_then(|id| intake.experiment_by_id(id));
                    self.collector
                        .count_rejected(known.map(|known| known.experiment().key));
                    answer.rejected.push(RejectedItem {
                        index,
                        code: rejection.code,
                        detail: rejection.detail,
                    });
                }
            }
        }
        Ok(observations)
    }

    fn ready(&self) -> Answered {
        let table = self.table.load();
        if table.revision.0 == 0 {
            let detail = "no routing table is loaded yet";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", detail).into());
        }
        Ok(json(
            serde_json::json!({"ready": true, "revision": table.revision})
                .to_string()
                .into_bytes(),
        ))
    }
}

/// One decision in eight is timed, the first of a thread always: reading the clock twice costs as much as a decision.
fn timed() -> Option<Instant> {
    thread_local! {
        static DECISIONS: Cell<u8> = const { Cell::new(0) };
    }
    let number = DECISIONS.with(|decisions| decisions.replace(decisions.get().wrapping_add(1)));
    number.is_multiple_of(8).then(Instant::now)
}

#[cold]
fn no_route(table: &RoutingTable, prompt: &str, asked: Asked<'_>, reason: NoRoute) -> Problem {
    let environment = asked.environment.unwrap_or(table.environment.as_str());
    match reason {
        NoRoute::UnknownPrompt => Problem::new(
            StatusCode::NOT_FOUND,
            "PROMPT_NOT_FOUND",
            format!("prompt `{prompt}` does not exist"),
        ),
        NoRoute::NotDeployed => Problem::new(
            StatusCode::NOT_FOUND,
            "NOT_DEPLOYED",
            format!("prompt `{prompt}` has no version deployed to environment `{environment}`"),
        ),
    }
}

fn submit_problem(error: SubmitError) -> Refused {
    let (status, code) = match error {
        SubmitError::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "STORAGE_FULL"),
        SubmitError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE"),
        SubmitError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED"),
        SubmitError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "SHUTTING_DOWN"),
    };
    let detail = format!("{error}; nothing of this request was counted, send it again with the same ids");
    let mut response = Problem::new(status, code, detail).into_response();
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    Refused(Box::new(response))
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail)
}

fn not_allowed(allowed: &'static str) -> Refused {
    let detail = format!("only {allowed} is possible here");
    let mut response =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail).into_response();
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    Refused(Box::new(response))
}

fn readable(request: &Request<Incoming>) -> Result<(), Refused> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(not_allowed("GET, HEAD")),
    }
}

fn json(body: Vec<u8>) -> Response<Body> {
    respond(body, "application/json")
}

fn plain(body: &'static str) -> Response<Body> {
    respond(body.into(), "text/plain; charset=utf-8")
}

fn respond(body: Vec<u8>, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
