//! One request, and the two calls that the API server makes for it.

use super::*;
use crate::webhook::{
    registration::version_entries::{UnclaimedEntries, VersionEntry},
    versions::Needed,
};

const ROLLOUT_BETA: &str = r#"{"apiVersion":"example.com/v1beta1","kind":"Rollout","metadata":{"name":"web"},"spec":{"size":3}}"#;

/// An edit through `requested`, as it is shown to an entry in version `shown`.
fn edit(requested: &str, shown: &str, size: u32) -> Value {
    let object = |size: u32| {
        json!({
            "apiVersion": format!("example.com/{shown}"), "kind": "Rollout",
            "metadata": {"name": "web", "uid": "o-1"}, "spec": {"size": size},
        })
    };
    let kind =
        |version: &str| json!({"group": "example.com", "version": version, "kind": "Rollout"});
    let mut request = update(3);
    for (key, value) in [
        ("kind", kind(shown)),
        ("requestKind", kind(requested)),
        (
            "resource",
            json!({"group": "example.com", "version": shown, "resource": "rollouts"}),
        ),
        ("oldObject", object(3)),
        ("object", object(size)),
    ] {
        request[key] = value;
    }
    request
}

fn bench(fresh: Fresh) -> Bench {
    Setup {
        declared: ROLLOUT_BETA,
        fresh,
        ..Setup::default()
    }
    .start()
}

fn registered(bench: &Bench) {
    let version_entry = VersionEntry {
        group: "example.com".to_owned(),
        version: "v1beta1".to_owned(),
        plural: "rollouts".to_owned(),
    };
    let needed = Needed {
        version_entries: [(version_entry, "Rollout".into())].into(),
        unclaimed: UnclaimedEntries::Remove,
    };
    bench.conversions.need(needed.clone());
    bench.conversions.in_place(&needed);
}

async fn call(bench: &Bench, path: &str, request: &Value) -> (bool, String) {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(review_of(request)))
        .unwrap();
    let (status, body) = bench.call(request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let mut review: Value = serde_json::from_str(&body).unwrap();
    let mut response = review["response"].take();
    let reason = response["auditAnnotations"]["reason"].take();
    let allowed = response["allowed"].as_bool().unwrap();
    (allowed, reason.as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_call_in_the_version_of_the_manifest_decides_and_the_other_defers() {
    let bench = bench(Fresh::AsIndexed);
    let main = edit("v1", "v1", 5);
    let converted = edit("v1", "v1beta1", 5);
    let unconverted = edit("v1beta1", "v1beta1", 5);
    let (validate, version) = ("/validate", "/validate/version");

    let before = call(&bench, validate, &main).await;
    assert_eq!(before, (true, "version-differs".to_owned()));
    registered(&bench);
    let deferred = call(&bench, validate, &main).await;
    assert_eq!(deferred, (true, "judged-in-declared-version".to_owned()));
    let evaluated = call(&bench, version, &converted).await;
    assert_eq!(evaluated, (false, "fields-changed".to_owned()));
    // A request in the manifest's own version is evaluated in the main call only.
    let evaluated = call(&bench, validate, &unconverted).await;
    assert_eq!(evaluated, (false, "fields-changed".to_owned()));
    let again = call(&bench, version, &unconverted).await;
    assert_eq!(again, (true, "not-judged".to_owned()));
}

#[tokio::test]
async fn a_manifest_that_changed_its_version_meanwhile_is_indeterminate() {
    let bench = bench(Fresh::Declares(ROLLOUT));
    registered(&bench);
    let converted = edit("v1", "v1beta1", 5);
    let answer = call(&bench, "/validate/version", &converted).await;
    assert_eq!(answer, (true, "version-differs".to_owned()));
}
