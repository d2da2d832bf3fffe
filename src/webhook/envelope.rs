//! The way in: an `AdmissionReview` (admission.k8s.io/v1) borrowed from the body of a request.
//!
//! Invariants
//! - `object` and `oldObject` stay raw text: what needs no judgement costs no parsing of objects.
//! - No error ever carries content of the body, since a review may hold a Secret. Positions only.
//!
//! Start at [`parse`].

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

use crate::guard::Request;

/// The most bytes that a review may have.
///
/// An UPDATE holds two objects; the API server takes requests of up to 3 MiB each
/// (`MaxRequestBodyBytes`), and the review wraps them. controller-runtime stops at 7 MiB.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Why a body is no review that can be answered with another review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The `Content-Type` header does not say JSON.
    #[error("failed to read the AdmissionReview: the content type must be application/json")]
    ContentType,
    /// More than [`MAX_BODY_BYTES`].
    #[error(
        "failed to read the AdmissionReview: the body is larger than {} bytes",
        MAX_BODY_BYTES
    )]
    TooLarge,
    /// The body ended early or the connection failed.
    #[error("failed to read the AdmissionReview: the body could not be received")]
    Unreceived,
    /// The body is not JSON.
    #[error("failed to read the AdmissionReview: not JSON at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// JSON, but not an `AdmissionReview` of the one version that is spoken here.
    #[error("failed to read the AdmissionReview: apiVersion and kind must be {API_VERSION} {KIND}")]
    NotAReview,
    /// There is no `request` in it.
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
    /// The word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::TooLarge => "too-large",
            Self::Unreceived => "unreceived",
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
            Self::Unanswerable => http::StatusCode::INTERNAL_SERVER_ERROR,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

/// Reads a review. Unknown fields are ignored, as the API server may grow new ones.
pub fn parse(body: &[u8]) -> Result<Request<'_>, EnvelopeError> {
    let review: Review<'_> =
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
/// serde's own words are not used because they quote values.
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
    let is = |raw: Option<&RawValue>, word: &str| {
        raw.is_some_and(|raw| raw.get().trim_matches('"') == word)
    };

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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::guard::Operation;

    const SCALE: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{
        "uid":"u-1","kind":{"group":"autoscaling","version":"v1","kind":"Scale"},
        "resource":{"group":"apps","version":"v1","resource":"deployments"},"subResource":"scale",
        "requestKind":{"group":"autoscaling","version":"v1","kind":"Scale"},"futureField":{"a":[1]},
        "name":"web","namespace":"shop","operation":"UPDATE",
        "userInfo":{"username":"ada","groups":["ops","system:authenticated"],"extra":{"a":["b"]}},
        "object":{"spec": {"replicas":0}},"oldObject":{"spec": {"replicas":3}},
        "dryRun":true,"options":{"kind":"UpdateOptions","fieldManager":"kubectl"}}}"#;

    #[test]
    fn a_review_is_read_without_touching_its_objects() {
        let request = parse(SCALE.as_bytes()).unwrap();
        assert_eq!(request.uid, "u-1");
        assert_eq!(request.operation, Operation::Update);
        assert_eq!(request.resource.group, "apps");
        assert_eq!(request.sub_resource, "scale");
        assert_eq!(request.user_info.groups, ["ops", "system:authenticated"]);
        assert_eq!(request.field_manager(), Some("kubectl"));
        assert!(request.dry_run);
        assert_eq!(
            request.object.unwrap().get(),
            r#"{"spec": {"replicas":0}}"#,
            "raw text, blanks and all"
        );
        assert!(matches!(request.uid, Cow::Borrowed(_)));
    }

    #[test]
    fn an_unknown_operation_is_a_review_like_any_other() {
        let body = SCALE.replace("\"UPDATE\"", "\"FROBNICATE\"");
        assert_eq!(
            parse(body.as_bytes()).unwrap().operation,
            Operation::Unknown
        );
    }

    #[rstest]
    #[case::empty("", "not-json")]
    #[case::cut_short(r#"{"apiVersion":"admission.k8s.io/v1","#, "not-json")]
    #[case::text("hunter2", "not-json")]
    #[case::binary("\u{1}\u{2}", "not-json")]
    #[case::a_list("[]", "not-a-review")]
    #[case::a_string("\"hunter2\"", "not-a-review")]
    #[case::nothing_in_it("{}", "not-a-review")]
    #[case::old_version(
        r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u","operation":"UPDATE"}}"#,
        "not-a-review"
    )]
    #[case::other_kind(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"Secret","request":{"uid":"u","operation":"UPDATE"}}"#,
        "not-a-review"
    )]
    #[case::numeric_version(r#"{"apiVersion":1,"kind":"AdmissionReview"}"#, "not-a-review")]
    #[case::no_request(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
        "no-request"
    )]
    #[case::null_request(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#,
        "no-request"
    )]
    #[case::no_uid(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"operation":"UPDATE"}}"#,
        "no-uid"
    )]
    #[case::empty_uid(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"","operation":"UPDATE"}}"#,
        "no-uid"
    )]
    #[case::no_operation(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u"}}"#,
        "field"
    )]
    #[case::a_field_of_the_wrong_type(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"UPDATE","name":["hunter2"]}}"#,
        "field"
    )]
    #[case::the_request_is_a_string(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":"hunter2"}"#,
        "field"
    )]
    fn a_malformed_body_gets_its_own_error_and_is_never_quoted(
        #[case] body: &str,
        #[case] kind: &str,
    ) {
        let error = parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.as_str(), kind);
        assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
