//! Reviews of policies: one that could not be taken over is refused when it is written, with everything
//! that is wrong with it.

use std::time::Instant;

use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::{Value, json};

use super::{HttpRequest, Webhook, deadline, receive, reject};
use crate::{
    guard::Request,
    policy::{Policy, document},
    webhook::{
        answer::text::cut,
        envelope::{self, EnvelopeError},
    },
};

/// The longest message, in bytes.
const MESSAGE_BYTES: usize = 6 * 1024;

/// Answers one review of a policy.
pub(super) async fn review<S>(webhook: &Webhook<S>, http: HttpRequest) -> Response {
    let deadline = Instant::now() + deadline::of(http.uri().query());
    let answer = receive(http, deadline).await.and_then(|body| answer(&body));
    match answer {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => reject(webhook, &error),
    }
}

fn answer(body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let request = envelope::parse(body)?;
    let mut response = json!({"uid": request.uid, "allowed": true});
    if let Some(message) = objection(&request) {
        response["allowed"] = false.into();
        response["status"] = json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": message,
        });
    }
    serde_json::to_vec(&json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    }))
    .map_err(|_| EnvelopeError::Unanswerable)
}

/// What is wrong with the policy in the request. An object without a spec is the default policy.
fn objection(request: &Request<'_>) -> Option<String> {
    let object: Value = serde_json::from_str(request.object?.get()).ok()?;
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let error = document::spec(spec)
        .and_then(|spec| Policy::compile(&spec))
        .err()?;
    let mut message = String::new();
    for problem in &error.0 {
        message.push_str("\n  ");
        message.push_str(&problem.to_string());
    }
    cut(&mut message, MESSAGE_BYTES);
    Some(message)
}
