//! Bodies that are not reviews, or cannot be answered like others.

use super::*;

#[rstest]
#[case::not_json("hunter2", 400, "not-json")]
#[case::empty("", 400, "not-json")]
#[case::no_request(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
    400,
    "no-request"
)]
#[tokio::test]
async fn a_malformed_review_is_rejected_and_counted(
    #[case] body: &'static str,
    #[case] status: u16,
    #[case] kind: &str,
) {
    let bench = Setup::default().start();
    let (got, text) = bench.post(body).await;
    assert_eq!(got.as_u16(), status);
    assert!(
        text.starts_with("failed to read the AdmissionReview"),
        "{text}"
    );
    assert!(!text.contains("hunter2"));
    let counter = format!(r#"helm_guard_rejected_envelopes_total{{kind="{kind}"}} 1"#);
    assert!(bench.metrics().contains(&counter));
    assert_eq!(bench.review(&update(3)).await["allowed"], true);
}

#[tokio::test]
async fn a_body_over_the_limit_is_rejected_and_one_at_the_limit_is_read() {
    let bench = Setup::default().start();
    let (status, _) = bench.post(vec![b' '; MAX_BODY_BYTES + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut body = review_of(&update(3)).into_bytes();
    body.resize(MAX_BODY_BYTES, b' ');
    assert_eq!(bench.post(body).await.0, StatusCode::OK);
}

#[rstest]
#[case::no_content_type(http::Request::post("/validate"), 415)]
#[case::form(
    http::Request::post("/validate").header("content-type", "text/plain"),
    415
)]
#[case::other_path(http::Request::post("/"), 404)]
#[case::other_method(http::Request::get("/validate"), 405)]
#[tokio::test]
async fn a_body_that_is_not_a_review_gets_an_http_error(
    #[case] request: http::request::Builder,
    #[case] status: u16,
) {
    let bench = Setup::default().start();
    let request = request.body(Body::from(review_of(&update(3)))).unwrap();
    assert_eq!(bench.call(request).await.0.as_u16(), status);
}

#[tokio::test]
async fn a_content_type_with_parameters_is_accepted() {
    let bench = Setup::default().start();
    let request = http::Request::post("/validate")
        .header("content-type", "Application/JSON; charset=utf-8")
        .body(Body::from(review_of(&update(3))))
        .unwrap();
    assert_eq!(bench.call(request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn unknown_operations_and_kinds_are_allowed_and_counted() {
    let bench = Setup::default().start();
    let frobnicate = with(update(0), "operation", json!("FROBNICATE"));
    assert_eq!(bench.review(&frobnicate).await["allowed"], true);
    let kind = json!({"group": "never.seen", "version": "v9", "kind": "Thing"});
    let thing = with(update(0), "kind", kind);
    assert_eq!(bench.review(&thing).await["allowed"], true);
    let metrics = bench.metrics();
    assert!(
        metrics.contains(
            r#"{dry_run="false",operation="UNKNOWN",mode="Deny",verdict="allowed",reason="not-judged"} 1"#
        )
    );
    assert!(
        metrics.contains(
            r#"{dry_run="false",operation="UPDATE",mode="Deny",verdict="allowed",reason="not-declared"} 1"#
        )
    );
}
