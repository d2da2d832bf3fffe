//! The way of a request: body, envelope, early exits, claims, judgement, fresh claims, decision,
//! record, answer.
//!
//! Invariants
//! - Nothing is denied from the index: before anything but a pass is answered, the records are read
//!   again and the request is judged again.
//! - Every answer is ready before the API server stops waiting, be it that nobody can say.
//! - A bug in the judgement costs its own request an HTTP 500, never the process.
//!
//! Start at [`review`].

mod deadline;
mod facts;
mod glass;
mod grants;
mod judging;
mod own;
mod policies;
mod records;
mod shift;
pub mod sources;
mod strangers;
mod witnesses;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use helm_guard_core::{
    compare::redact::Redactor,
    guard::{
        Asker, Decided, Decision, Elsewhere, ObjectRef, Operation, Outcome, Own, Reason, Request,
        Unread, Verdict, decide, screen,
    },
    helm::ObjectId,
    policy::{Labels, Live, Policy, problem::shortened},
};
use http::{Method, StatusCode, header};
use jiff::Timestamp;

use self::judging::{Call, Located, RESERVE, Weighed};
pub use self::sources::{Fresh, Holdings, LiveOwner, Missed, SourceError, Sources};
use super::{
    answer::{Answer, refuse_if, text},
    envelope::{EnvelopeError, MAX_BODY_BYTES},
    intake::{Intake, Taken},
    paths::{Paths, Route},
    versions::Conversions,
};
use crate::record::{Recorder, events::Note};

/// Everything that answers depend on.
#[derive(Debug)]
pub struct Webhook<S> {
    /// What is known of the cluster.
    pub sources: S,
    /// The policy in force.
    pub policy: Live,
    /// Shows values.
    pub redactor: Redactor,
    /// The versions in which the API server makes calls of their own.
    pub conversions: Arc<Conversions>,
    /// Keeps what was decided.
    pub recorder: Arc<Recorder>,
    /// Takes the bodies of reviews.
    pub intake: Intake,
    /// The release that the guard is installed by, if any: what it declares in the guard's namespace
    /// is not judged.
    pub own: Option<Own>,
}

/// Which entry of the registration a review comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// One that takes requests in the version they are made in.
    AsRequested,
    /// One for a single version, which others are converted to.
    OneVersion,
    /// One for what releases hang on: their records, namespaces, definitions.
    Foundations,
    /// The one for whatever an emergency identity does: nothing is judged.
    Emergencies,
}

/// What an entry does with a request that nobody can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDoubt {
    /// It passes with a warning.
    Pass,
    /// The API server gets an error, and does what the entry's `failurePolicy` says.
    Fail,
}

/// What a review is answered with.
enum Reply {
    /// An `AdmissionReview`.
    Review(Vec<u8>),
    /// The reason for which there is none.
    Undecided(String),
}

/// Answers the paths of the registration. Every other path gets the same 404, before a byte of its body
/// is read.
pub fn router<S: Sources>(webhook: Arc<Webhook<S>>, paths: Arc<Paths>) -> Router {
    Router::new().fallback(async move |http: HttpRequest| {
        match paths.route(http.uri().path(), Instant::now()) {
            Some(route) => dispatch(&webhook, route, http).await,
            None => strangers::refuse(&webhook.recorder, &http),
        }
    })
}

async fn dispatch<S: Sources>(webhook: &Webhook<S>, route: Route, http: HttpRequest) -> Response {
    if http.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    strangers::welcome(&http);
    match route {
        Route::Validate => review(webhook, http, Entry::AsRequested, OnDoubt::Pass).await,
        Route::Version => review(webhook, http, Entry::OneVersion, OnDoubt::Pass).await,
        Route::Foundations => review(webhook, http, Entry::Foundations, OnDoubt::Pass).await,
        Route::Emergencies => review(webhook, http, Entry::Emergencies, OnDoubt::Pass).await,
        Route::ClosedValidate => review(webhook, http, Entry::AsRequested, OnDoubt::Fail).await,
        Route::ClosedVersion => review(webhook, http, Entry::OneVersion, OnDoubt::Fail).await,
        Route::ClosedFoundations => review(webhook, http, Entry::Foundations, OnDoubt::Fail).await,
        Route::Grants => of_our_own(webhook, http, OwnKind::Grant).await,
        Route::Policies => of_our_own(webhook, http, OwnKind::Policy).await,
    }
}

/// One of the guard's own kinds.
#[derive(Clone, Copy)]
enum OwnKind {
    Grant,
    Policy,
}

impl OwnKind {
    /// The largest review of it that is read. A review holds up to two objects; a grant has a few
    /// hundred names at most, and a policy some thousand short rules.
    fn limit(self) -> usize {
        match self {
            Self::Grant => 64 * 1024,
            Self::Policy => 512 * 1024,
        }
    }
}

/// Answers a review of one of the guard's own kinds: refused, if anything is wrong with it.
async fn of_our_own<S: Sources>(webhook: &Webhook<S>, http: HttpRequest, own: OwnKind) -> Response {
    let deadline = Instant::now() + deadline::of(http.uri().query());
    let body = match receive(webhook, http, own.limit(), deadline).await {
        Ok(body) => body,
        Err(error) => return reject(webhook, &error),
    };
    let answering = async {
        let request = body.request()?;
        let wrong = match (request.unread, own) {
            (Some(unread), _) => vec![unreadable(unread)],
            (None, OwnKind::Policy) => policies::wrong(&request),
            (None, OwnKind::Grant) => {
                let policy = webhook.policy.load_full();
                let mut wrong = grants::wrong(&policy, &request, Timestamp::now());
                wrong.extend(grants::one_too_many(&webhook.sources, &request, deadline).await);
                wrong
            }
        };
        if !wrong.is_empty() {
            tracing::info!(
                kind = &*request.kind.kind,
                name = &*shortened(&request.name),
                user = &*shortened(&request.user_info.username),
                wrong = wrong.join("; "),
                "refused one of the guard's own objects"
            );
        }
        refuse_if(&request, &wrong).map_err(|_| EnvelopeError::Unanswerable)
    };
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(Ok(json)) => json_response(json),
        Ok(Err(error)) => reject(webhook, &error),
        Err(_panic) => internal_error(webhook),
    }
}

/// Why an object of the guard's own kinds is refused unread.
fn unreadable(unread: Unread) -> String {
    match unread {
        Unread::TooLarge { size, limit } => format!(
            "its admission review of {size} bytes is larger than the {limit} bytes that are evaluated"
        ),
        Unread::OverBudget { .. } => {
            "too many reviews are being evaluated at the moment: try again".to_owned()
        }
        Unread::Late => "its admission review did not arrive in time: try again".to_owned(),
    }
}

fn internal_error<S>(webhook: &Webhook<S>) -> Response {
    webhook.recorder.metrics.panicked();
    let text = "failed to judge the request: internal error";
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

fn json_response(json: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// Answers one review.
async fn review<S: Sources>(
    webhook: &Webhook<S>,
    http: HttpRequest,
    entry: Entry,
    on_doubt: OnDoubt,
) -> Response {
    let started = Instant::now();
    let deadline = started + deadline::of(http.uri().query());
    let _in_flight = webhook.recorder.metrics.enter();
    let body = match receive(webhook, http, MAX_BODY_BYTES, deadline).await {
        Ok(body) => body,
        Err(error) => return reject(webhook, &error),
    };
    let answering = AssertUnwindSafe(answer(
        webhook,
        &body,
        (entry, on_doubt),
        (started, deadline),
    ))
    .catch_unwind();
    match answering.await {
        Ok(Ok(Reply::Review(json))) => json_response(json),
        Ok(Ok(Reply::Undecided(why))) => (StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
        Ok(Err(error)) => reject(webhook, &error),
        Err(_panic) => internal_error(webhook),
    }
}

fn reject<S>(webhook: &Webhook<S>, error: &EnvelopeError) -> Response {
    webhook.recorder.metrics.rejected(error.as_str());
    // Anyone on the network can cause this as often as they like: the counter tells of it.
    tracing::debug!(%error, "rejected a request");
    (error.status(), error.to_string()).into_response()
}

/// Takes the body, within its limits of size, memory and time.
async fn receive<S>(
    webhook: &Webhook<S>,
    http: HttpRequest,
    limit: usize,
    deadline: Instant,
) -> Result<Taken<'_>, EnvelopeError> {
    if !is_json(http.headers()) {
        return Err(EnvelopeError::ContentType);
    }
    webhook.intake.take(http.into_body(), limit, deadline).await
}

fn is_json(headers: &http::HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

async fn answer<S: Sources>(
    webhook: &Webhook<S>,
    body: &Taken<'_>,
    (entry, on_doubt): (Entry, OnDoubt),
    (started, deadline): (Instant, Instant),
) -> Result<Reply, EnvelopeError> {
    let request = body.request()?;
    let policy = webhook.policy.load_full();
    if entry == Entry::Emergencies {
        let recorded = shift::record(webhook, &policy, &request, (started, deadline)).await;
        return recorded.map(Reply::Review);
    }
    let asker = asker(&policy, &request);
    let mut judged = judged(webhook, &policy, &request, entry, asker, deadline).await;
    let glass = glass::touch(webhook, &policy, &request, &judged, deadline).await;
    if glass.asker() == Asker::Ordinary {
        judged.as_anyone();
    }
    let object = judged.object();
    let verdict = &judged.verdict;
    let mode = verdict.mode().unwrap_or(policy.default_mode());
    let mut decided = Decided {
        request: &request,
        object: object.as_ref(),
        verdict,
        decision: decide(verdict.reason.outcome(), mode, glass.asker()),
        mode,
    };
    let emergency = glass::keep(webhook, &policy, (&decided, &glass), deadline).await;
    decided.decision = glass::finally(&policy, decided.decision, emergency.as_ref());
    if on_doubt == OnDoubt::Fail {
        decided.decision = decided.decision.closed();
    }
    webhook
        .recorder
        .record(&decided, emergency.as_ref(), started.elapsed())
        .await;
    if verdict.reason == Reason::UndeclaredAutoscaler && !request.dry_run {
        webhook.recorder.events.announce_once(note(
            &decided,
            ("UndeclaredAutoscaler", "Autoscale"),
            text::undeclared_autoscaler,
        ));
    }
    if verdict.reason == Reason::OwnershipTaken && !request.dry_run {
        // Each time: who takes it may be another one.
        if let Some(note) = note(&decided, ("OwnershipTaken", "TakeOwnership"), text::taken) {
            webhook.recorder.events.announce(note);
        }
    }
    let answer = Answer {
        decided,
        way_out: policy.way_out(),
        refusal: glass.refusal(),
        emergency: emergency.as_ref(),
    };
    if answer.decided.decision == Decision::FailClosed {
        return Ok(Reply::Undecided(text::undecided(&answer)));
    }
    let json = answer.to_json().map_err(|_| EnvelopeError::Unanswerable)?;
    Ok(Reply::Review(json))
}

/// The event on an object to which something happened that passes, and should not go unnoticed.
fn note(
    decided: &Decided<'_>,
    (reason, action): (&'static str, &'static str),
    text: impl Fn(&Decided<'_>) -> String,
) -> Option<Note> {
    let (request, object) = (decided.request, decided.object?);
    let version = &request.resource.version;
    Some(Note {
        object: ObjectId {
            group: object.group.to_owned(),
            kind: object.kind.to_owned(),
            namespace: object.namespace.to_owned(),
            name: object.name.clone().into_owned(),
        },
        api_version: match object.group {
            "" => version.to_string(),
            group => format!("{group}/{version}"),
        },
        uid: judging::metadata_text(request, "uid"),
        reason,
        action,
        text: text(decided),
    })
}

/// What was found out about a request.
#[derive(Debug)]
pub struct Judged<'r> {
    /// The judgement.
    pub verdict: Verdict,
    located: Option<Located<'r>>,
    /// By the index alone, since the records could not be read again.
    is_unconfirmed: bool,
}

impl Judged<'_> {
    /// The object that was judged, as far as it is known.
    pub fn object(&self) -> Option<ObjectRef<'_>> {
        self.located.as_ref().map(Located::object)
    }

    /// Nobody but who breaks the glass is judged by the index alone.
    fn as_anyone(&mut self) {
        if self.is_unconfirmed && self.verdict.reason.outcome() == Outcome::Violation {
            self.verdict = Verdict::because(Reason::ReadThroughFailed);
        }
    }
}

/// Judges one request and records nothing: what the webhook does for an answer, for whoever else
/// wants to know.
pub async fn judged<'r, S: Sources>(
    webhook: &Webhook<S>,
    policy: &Policy,
    request: &'r Request<'_>,
    entry: Entry,
    asker: Asker,
    deadline: Instant,
) -> Judged<'r> {
    if policy.suspension().is_some() {
        return Judged {
            verdict: Verdict::because(Reason::Suspended),
            located: None,
            is_unconfirmed: false,
        };
    }
    let screened = match entry {
        Entry::AsRequested | Entry::OneVersion => {
            screen(request).or_else(|| unconverted(request, entry))
        }
        Entry::Foundations => None,
        Entry::Emergencies => Some(Reason::NotJudged),
    };
    let located = match screened {
        Some(reason) => Err(reason),
        None => judging::locate(&webhook.sources, request, deadline).await,
    };
    let located = match located {
        Ok(located) => located,
        Err(reason) => {
            return Judged {
                verdict: Verdict::because(unnamed(request, reason)),
                located: None,
                is_unconfirmed: false,
            };
        }
    };
    let conversions = webhook.conversions.active();
    let elsewhere = match entry {
        Entry::AsRequested => {
            let object = located.object();
            Elsewhere::Versions(conversions.versions(object.group, object.kind))
        }
        Entry::OneVersion | Entry::Emergencies => Elsewhere::AllOthers,
        Entry::Foundations => {
            return Judged {
                verdict: founded(webhook, policy, request, &located, deadline).await,
                located: Some(located),
                is_unconfirmed: false,
            };
        }
    };
    let call = Call {
        policy,
        request,
        located: &located,
        elsewhere,
        asker,
        deadline,
    };
    let (verdict, is_unconfirmed) = match judging::verdict(webhook, &call).await {
        Weighed::Confirmed(verdict) => (verdict, false),
        Weighed::ByIndex(verdict) => (verdict, true),
    };
    Judged {
        verdict,
        located: Some(located),
        is_unconfirmed,
    }
}

/// What is not named and was not read is not what nobody can read: its size is no way out.
fn unnamed(request: &Request<'_>, reason: Reason) -> Reason {
    match (reason, request.unread, request.operation) {
        (Reason::ObjectUnreadable, Some(_), Operation::Create) => Reason::NotJudged,
        (Reason::ObjectUnreadable, Some(unread), _) => unread.reason(),
        _ => reason,
    }
}

async fn founded<S: Sources>(
    webhook: &Webhook<S>,
    policy: &Policy,
    request: &Request<'_>,
    located: &Located<'_>,
    deadline: Instant,
) -> Verdict {
    let object = located.object();
    let namespace = match object.kind {
        "Namespace" => &*object.name,
        _ => object.namespace,
    };
    let labels = webhook.sources.namespace_labels(namespace);
    let call = records::Call {
        policy,
        request,
        object: &object,
        labels: labels.as_deref().map_or(Labels::Unknown, Labels::Known),
        deadline,
    };
    records::verdict(webhook, &call).await
}

/// An entry for one version is for requests made in another: the others are judged as they are.
/// Its match condition keeps them away, where nobody took that off.
fn unconverted(request: &Request<'_>, entry: Entry) -> Option<Reason> {
    let original = request.request_kind.as_ref().unwrap_or(&request.kind);
    (entry == Entry::OneVersion && *original == request.kind).then_some(Reason::NotJudged)
}

fn asker(policy: &Policy, request: &Request<'_>) -> Asker {
    if policy.emergencies().names(request.user_info.asking()) {
        Asker::BreakGlass
    } else {
        Asker::Ordinary
    }
}

#[cfg(test)]
mod tests;
