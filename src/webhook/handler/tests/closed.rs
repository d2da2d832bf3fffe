//! Entries that fail closed: an error for the API server instead of an indeterminate verdict.

use super::*;

async fn closed(bench: &Bench, path: &str, request: &Value) -> (StatusCode, String) {
    let http = http::Request::post(path)
        .header("content-type", "application/json")
        .body(review_of(request).into())
        .unwrap();
    bench.call(http).await
}

#[rstest]
#[case::records_that_cannot_be_read_again(Fresh::Fails, true, update(0), "read-through-failed")]
#[case::an_index_that_is_not_complete(
    Fresh::AsIndexed, false, with(update(0), "name", json!("other")), "index-incomplete"
)]
#[tokio::test]
async fn an_indeterminate_request_is_an_error_only_in_a_closed_namespace(
    #[case] fresh: Fresh,
    #[case] is_complete: bool,
    #[case] mut request: Value,
    #[case] reason: &str,
) {
    if reason == "index-incomplete" {
        for object in ["object", "oldObject"] {
            request[object]["metadata"]["name"] = json!("other");
        }
    }
    let start = || {
        Setup {
            fresh,
            is_complete,
            ..Setup::default()
        }
        .start()
    };
    let bench = start();
    assert_eq!(bench.review(&request).await["allowed"], true);

    let bench = start();
    let (status, body) = closed(&bench, "/closed", &request).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
    assert!(
        body.contains(reason) && body.contains("namespace shop fails closed"),
        "{body}"
    );
    let counted = format!(r#"verdict="fail-closed",reason="{reason}"}} 1"#);
    assert!(bench.metrics().contains(&counted), "{}", bench.metrics());
    assert_eq!(bench.audit_lines()[0]["verdict"], "fail-closed");
}

#[rstest]
#[case::a_violation(update(0), false)]
#[case::what_violates_nothing(update(3), true)]
#[tokio::test]
async fn a_closed_namespace_gets_the_same_verdicts(#[case] request: Value, #[case] allowed: bool) {
    let bench = Setup::default().start();
    let (status, body) = closed(&bench, "/closed", &request).await;
    let review: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &review["response"]["allowed"]),
        (StatusCode::OK, &json!(allowed))
    );
}

/// The kill switch is for problems with the guard itself.
#[tokio::test]
async fn a_suspended_guard_also_allows_everything_in_a_closed_namespace() {
    let bench = Setup {
        fresh: Fresh::Fails,
        ..Setup::default()
    }
    .start();
    let spec = json!({"suspend": true});
    let suspended = Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap();
    bench.webhook.reviewer.policy.store(Arc::new(suspended));
    let (status, _) = closed(&bench, "/closed", &update(0)).await;
    assert_eq!(status, StatusCode::OK);
}
