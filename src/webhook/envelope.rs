//! The request: an `AdmissionReview` (admission.k8s.io/v1) borrowed from the body.
//!
//! Invariants
//! - `object` and `oldObject` stay raw text: objects that need no evaluation are not parsed.
//! - No error ever contains content of the body, because a review may contain a Secret. Positions only.
//!
//! Start at [`parse`]: nearly every review is read by [`quick`]; the others are parsed as JSON.

pub mod head;
mod quick;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use helm_guard_core::{
    compare::unquoted,
    guard::{Request, is_dry_run_eviction},
};
use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

/// The maximum size of an evaluated review, in bytes.
///
/// An UPDATE contains two objects of up to 1.5 MiB, the limit of etcd, or 3 MiB, the limit of the API
/// server (`MaxRequestBodyBytes`). The review has them as Go writes JSON: `<`, `>`, `&` and control
/// characters take six bytes each. That makes 27 MiB for an object that grows from the limit of etcd
/// to that of the API server.
pub(crate) const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Why a body is not a review that can be answered with another review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The `Content-Type` header does not say JSON.
    #[error("failed to read the AdmissionReview: the content type must be application/json")]
    ContentType,
    /// More than [`MAX_BODY_BYTES`], with an unreadable head.
    #[error(
        "failed to read the AdmissionReview: the body is larger than {} bytes",
        MAX_BODY_BYTES
    )]
    TooLarge,
    /// The body ended early or the connection failed.
    #[error("failed to read the AdmissionReview: the body could not be received")]
    Unreceived,
    /// More reviews are in flight than API servers send.
    #[error("failed to take the AdmissionReview: too many are being evaluated")]
    Shed,
    /// The body is not JSON.
    #[error("failed to read the AdmissionReview: not JSON at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// JSON, but not an `AdmissionReview` of the supported version.
    #[error("failed to read the AdmissionReview: apiVersion and kind must be {API_VERSION} {KIND}")]
    NotAReview,
    /// It has no `request`.
    #[error("failed to read the AdmissionReview: it has no request")]
    NoRequest,
    /// The request has no `uid`, so that no answer could be matched with it.
    #[error("failed to read the AdmissionReview: its request has no uid")]
    NoUid,
    /// The answer could not be written as JSON.
    #[error("failed to write the answer to the AdmissionReview")]
    Unanswerable,
    /// A field of the request is not of the type that Kubernetes gives it.
    #[error(
        "failed to read the AdmissionReview: a field of its request has the wrong type at line {line}, column {column}"
    )]
    Field {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
}

impl EnvelopeError {
    /// The label for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::TooLarge => "too-large",
            Self::Unreceived => "unreceived",
            Self::Shed => "shed",
            Self::NotJson { .. } => "not-json",
            Self::NotAReview => "not-a-review",
            Self::NoRequest => "no-request",
            Self::NoUid => "no-uid",
            Self::Field { .. } => "field",
            Self::Unanswerable => "unanswerable",
        }
    }

    /// The HTTP status that answers it.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::ContentType => http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Shed => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Unanswerable => http::StatusCode::INTERNAL_SERVER_ERROR,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReviewRequest<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

/// Reads a review. Unknown fields are ignored, as the API server may grow new ones.
pub fn parse(body: &[u8]) -> Result<Request<'_>, EnvelopeError> {
    let mut request = match quick::read(body) {
        Some(request) => request,
        None => thoroughly(body)?,
    };
    request.dry_run |= is_dry_run_eviction(&request);
    Ok(request)
}

/// Parses any JSON, and reports the error.
fn thoroughly(body: &[u8]) -> Result<Request<'_>, EnvelopeError> {
    let review: AdmissionReviewRequest<'_> =
        serde_json::from_slice(body).map_err(|error| diagnose(body, &error))?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(EnvelopeError::NotAReview);
    }
    let request = review.request.ok_or(EnvelopeError::NoRequest)?;
    if request.uid.is_empty() {
        return Err(EnvelopeError::NoUid);
    }
    Ok(request)
}

/// Finds out what is wrong with a body that did not parse. Slow, and only ever run on bad input;
/// serde's own messages are not used because they quote values.
fn diagnose(body: &[u8], error: &serde_json::Error) -> EnvelopeError {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Lax<'a> {
        #[serde(borrow, default)]
        api_version: Option<&'a RawValue>,
        #[serde(borrow, default)]
        kind: Option<&'a RawValue>,
        #[serde(borrow, default)]
        request: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Uid<'a> {
        #[serde(borrow, default)]
        uid: Option<&'a RawValue>,
    }
    let is =
        |raw: Option<&RawValue>, word: &str| raw.is_some_and(|raw| unquoted(raw.get()) == word);

    let (line, column) = (error.line(), error.column());
    if error.classify() != Category::Data {
        return EnvelopeError::NotJson { line, column };
    }
    let Ok(lax) = serde_json::from_slice::<Lax<'_>>(body) else {
        return EnvelopeError::NotAReview;
    };
    if !is(lax.api_version, API_VERSION) || !is(lax.kind, KIND) {
        return EnvelopeError::NotAReview;
    }
    let Some(request) = lax.request else {
        return EnvelopeError::NoRequest;
    };
    match serde_json::from_str::<Uid<'_>>(request.get()) {
        Ok(Uid { uid: None }) => EnvelopeError::NoUid,
        _ => EnvelopeError::Field { line, column },
    }
}
