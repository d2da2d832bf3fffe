//! The path of a request: body, envelope, review, record, answer.
//!
//! Invariants
//! - Every answer is ready before the API server stops waiting, even if it is "indeterminate".
//! - A bug in the review costs its own request an HTTP 500, never the process.
//!
//! Start at [`review`]; the decision is made in [`crate::review`].

mod answering;
mod deadline;
mod emergency_activity;
mod emergency_record;
mod event;
mod own_kinds;
mod state;
mod strangers;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{Method, StatusCode, header};

pub(crate) use self::state::Webhook;
use self::{
    own_kinds::OwnKind,
    state::{OnDoubt, Purpose, Reply},
};
use super::{
    envelope::{EnvelopeError, MAX_BODY_BYTES},
    intake::Taken,
    paths::{Paths, Route},
};
use crate::review::{Entry, Sources};

/// Answers the paths of the registration. Every other path gets the same 404, before a byte of its body
/// is read.
pub(crate) fn router<S: Sources>(webhook: Arc<Webhook<S>>, paths: Arc<Paths>) -> Router {
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
    let verdict = |entry, on_doubt| Purpose::Verdict(entry, on_doubt);
    let purpose = match route {
        Route::Validate => verdict(Entry::AsRequested, OnDoubt::Pass),
        Route::Version => verdict(Entry::OneVersion, OnDoubt::Pass),
        Route::ReleaseInfrastructure => verdict(Entry::ReleaseInfrastructure, OnDoubt::Pass),
        Route::ClosedValidate => verdict(Entry::AsRequested, OnDoubt::Fail),
        Route::ClosedVersion => verdict(Entry::OneVersion, OnDoubt::Fail),
        Route::ClosedReleaseInfrastructure => verdict(Entry::ReleaseInfrastructure, OnDoubt::Fail),
        Route::Emergencies => Purpose::EmergencyActivity,
        Route::Grants => return validate(webhook, http, OwnKind::Grant).await,
        Route::Policies => return validate(webhook, http, OwnKind::Policy).await,
    };
    review(webhook, http, purpose).await
}

/// Answers a review of one of the guard's own kinds: denied if it is invalid.
async fn validate<S: Sources>(webhook: &Webhook<S>, http: HttpRequest, own: OwnKind) -> Response {
    let deadline = Instant::now() + deadline::of(http.uri().query());
    let body = match receive(webhook, http, own.limit(), deadline).await {
        Ok(body) => body,
        Err(error) => return reject(webhook, &error),
    };
    let answering = own_kinds::answer(&webhook.reviewer, &body, own, deadline);
    respond(webhook, async { answering.await.map(Reply::Review) }).await
}

/// Answers one review.
async fn review<S: Sources>(webhook: &Webhook<S>, http: HttpRequest, purpose: Purpose) -> Response {
    let started = Instant::now();
    let deadline = started + deadline::of(http.uri().query());
    let _in_flight = webhook.recorder.metrics.enter();
    let body = match receive(webhook, http, MAX_BODY_BYTES, deadline).await {
        Ok(body) => body,
        Err(error) => return reject(webhook, &error),
    };
    let times = (started, deadline);
    match purpose {
        Purpose::Verdict(entry, on_doubt) => {
            let answering = answering::answer(webhook, &body, (entry, on_doubt), times);
            respond(webhook, answering).await
        }
        Purpose::EmergencyActivity => {
            let recording = emergency_activity::record(webhook, &body, times);
            respond(webhook, async { recording.await.map(Reply::Review) }).await
        }
    }
}

/// The response, whatever happens.
async fn respond<S>(
    webhook: &Webhook<S>,
    answering: impl Future<Output = Result<Reply, EnvelopeError>>,
) -> Response {
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(Ok(Reply::Review(json))) => {
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Ok(Ok(Reply::Undecided(why))) => (StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
        Ok(Err(error)) => reject(webhook, &error),
        Err(_panic) => {
            webhook.recorder.metrics.panicked();
            let text = "failed to evaluate the request: internal error";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

fn reject<S>(webhook: &Webhook<S>, error: &EnvelopeError) -> Response {
    webhook.recorder.metrics.rejected(error.as_str());
    // Anyone on the network can cause this at any rate, so it is only counted.
    tracing::debug!(%error, "rejected a request");
    (error.status(), error.to_string()).into_response()
}

/// Takes the body, within the limits of size, memory and time.
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

#[cfg(test)]
mod tests;
