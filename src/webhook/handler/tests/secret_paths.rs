//! A client without a registered path learns nothing.

use super::*;
use crate::webhook::{
    paths::{PathKey, Paths},
    tls::Pair,
};

const OBJECTS: &str = "objects.helm-guard.dev";

fn key(text: &str) -> PathKey {
    PathKey::of(&Pair {
        chain: String::new(),
        key: text.to_owned(),
        ca_bundle: None,
    })
}

/// A serving guard.
fn guarded() -> Bench {
    let mut bench = Setup::default().start();
    let paths = Paths::new();
    paths.accept([key("ours")]);
    bench.router = router(Arc::clone(&bench.webhook), paths);
    bench
}

async fn post(bench: &Bench, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    bench.call(request).await
}

#[tokio::test]
async fn a_review_through_a_registered_path_is_answered() {
    let bench = guarded();
    let path = key("ours").path(Route::Validate, OBJECTS);
    let (status, body) = post(&bench, &format!("{path}?timeout=3s"), review_of(&update(0))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#""allowed":false"#), "{body}");
}

/// A forged dry run that changes a field to a guessed value: the answer would reveal whether the
/// guess is the declared value.
#[rstest]
#[case::no_secret("/validate".to_owned())]
#[case::an_entry_without_its_secret(format!("/validate/{OBJECTS}"))]
#[case::the_secret_of_another_guard(key("theirs").path(Route::Validate, OBJECTS))]
#[case::the_secret_of_another_entry(
    key("ours").path(Route::Grants, OBJECTS).replace("/grants/", "/validate/")
)]
#[case::a_probe("/".to_owned())]
#[tokio::test]
async fn a_forged_review_reveals_nothing(#[case] path: String) {
    let bench = guarded();
    let mut answers = Vec::new();
    for guess in [0, 1, 2, 3, 4] {
        let forged = with(update(guess), "dryRun", json!(true));
        answers.push(post(&bench, &path, review_of(&forged)).await);
    }
    answers.push(post(&bench, &path, "no review at all").await);
    let nothing = (StatusCode::NOT_FOUND, String::new());
    assert!(
        answers.iter().all(|answer| *answer == nothing),
        "{answers:?}"
    );
    assert_eq!(bench.read_throughs(), 0);
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
    let counted = r#"helm_guard_rejected_envelopes_total{kind="unknown-path"} 6"#;
    assert!(bench.metrics().contains(counted), "{}", bench.metrics());
}

#[tokio::test]
async fn an_unknown_path_is_answered_before_the_body_is_read() {
    let bench = guarded();
    let never = futures_util::stream::pending::<io::Result<bytes::Bytes>>();
    let (status, _) = post(&bench, "/validate", Body::from_stream(never)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_dry_run_is_only_counted() {
    let bench = guarded();
    let path = key("ours").path(Route::Validate, OBJECTS);
    let dry = with(update(0), "dryRun", json!(true));
    post(&bench, &path, review_of(&dry)).await;
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
    let counted = r#"{dry_run="true",operation="UPDATE",mode="Deny",verdict="denied""#;
    assert!(bench.metrics().contains(counted), "{}", bench.metrics());
}
