//! Against a fake API server: one that counts, loses answers and has names taken.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[derive(Default)]
struct StoredChanges {
    stored: Vec<Value>,
    /// Other records, which are only counted.
    others: usize,
    /// If set, the answer to everything.
    refuse: Option<(u16, Value)>,
}

fn changes(store: &Arc<Mutex<StoredChanges>>) -> Changes {
    let store = Arc::clone(store);
    let service = tower::service_fn(move |request: Request<Body>| {
        let store = Arc::clone(&store);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let (code, answer) = answer(&mut store.lock(), &parts, &body);
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    Changes::new(Client::new(service, "default"), Arc::default())
}

fn answer(store: &mut StoredChanges, parts: &http::request::Parts, body: &[u8]) -> (u16, Value) {
    if let Some(refusal) = &store.refuse {
        return refusal.clone();
    }
    let name = |stored: &Value| stored["metadata"]["name"].as_str().unwrap().to_owned();
    match parts.method {
        Method::GET if parts.uri.path().ends_with("/emergencychanges") => {
            let others = store.others + store.stored.len();
            let item = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"name": "one"}});
            let items: Vec<Value> = (others > 0).then_some(item).into_iter().collect();
            let more = others.saturating_sub(1);
            let list = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": {"remainingItemCount": more}, "items": items});
            (200, list)
        }
        Method::GET => {
            let asked = parts.uri.path().rsplit('/').next().unwrap();
            let found = store.stored.iter().find(|stored| name(stored) == asked);
            let missing = || (404, status(404, "NotFound", &json!({})));
            found.map_or_else(missing, |found| (200, found.clone()))
        }
        _ => {
            let new: Value = serde_json::from_slice(body).unwrap();
            if store.stored.iter().any(|stored| name(stored) == name(&new)) {
                return (409, status(409, "AlreadyExists", &json!({})));
            }
            store.stored.push(new.clone());
            (201, new)
        }
    }
}

fn status(code: u16, reason: &str, details: &Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code, "details": details})
}

fn spec(uid: &str) -> EmergencyChangeSpec {
    let spec = json!({
        "user": "ada", "at": "2026-11-21T03:00:00Z", "requestUid": uid, "operation": "Update",
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
        "release": {"name": "myapp", "namespace": "shop", "chart": "myapp-1.0.0", "revision": 1},
        "patch": r#"[{"op":"replace","path":"/spec/replicas","value":9}]"#,
        "reconcileBy": "2026-11-22T03:00:00Z",
    });
    serde_json::from_value(spec).unwrap()
}

fn to_another_value(uid: &str) -> EmergencyChangeSpec {
    EmergencyChangeSpec {
        patch: Some("[]".to_owned()),
        ..spec(uid)
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn a_change_is_stored_once_however_often_it_is_retried() {
    let store = Arc::default();
    let changes = changes(&store);
    let stored = changes.store(&spec("u-1"), soon()).await.unwrap();
    let name = stored.name().to_owned();
    assert_eq!(stored, Persisted::New(name.clone()));
    for uid in ["u-1", "u-2"] {
        let again = changes.store(&spec(uid), soon()).await.unwrap();
        assert_eq!(again, Persisted::Known(name.clone()));
    }
    let other = changes
        .store(&to_another_value("u-3"), soon())
        .await
        .unwrap();
    assert_ne!(other.name(), name);
    let stored = &store.lock().stored;
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0]["spec"]["requestUid"], "u-1");
    assert_eq!(stored[0]["metadata"]["namespace"], "shop");
    assert_eq!(
        stored[0]["metadata"]["labels"],
        json!({"helm-guard.dev/release": "myapp", "helm-guard.dev/kind": "Deployment",
            "helm-guard.dev/object": "web"})
    );
}

#[tokio::test]
async fn a_change_repeated_after_its_resolution_gets_a_new_record() {
    let store = Arc::default();
    let changes = changes(&store);
    let first = changes.store(&spec("u-1"), soon()).await.unwrap();
    store.lock().stored[0]["status"] = json!({"state": "Reverted"});
    let second = changes.store(&spec("u-2"), soon()).await.unwrap();
    assert_eq!(second, Persisted::New(format!("{}-2", first.name())));
    let retried = changes.store(&spec("u-3"), soon()).await.unwrap();
    assert_eq!(retried, Persisted::Known(second.name().to_owned()));
}

#[tokio::test]
async fn a_change_repeated_many_times_gets_a_new_record_each_time() {
    let store = Arc::default();
    let changes = changes(&store);
    for number in 1..=12 {
        let stored = changes.store(&spec(&format!("u-{number}")), soon()).await;
        assert!(matches!(stored, Ok(Persisted::New(_))), "{stored:?}");
        for stored in &mut store.lock().stored {
            stored["status"] = json!({"state": "Reverted"});
        }
    }
    assert_eq!(store.lock().stored.len(), 12);
}

#[tokio::test]
async fn the_name_of_another_change_is_not_reused() {
    let store: Arc<Mutex<StoredChanges>> = Arc::default();
    let name = retried::names(&spec("u-1")).next().unwrap();
    let squatter = document(to_another_value("u-9"), &name);
    store
        .lock()
        .stored
        .push(serde_json::to_value(squatter).unwrap());
    let stored = changes(&store).store(&spec("u-1"), soon()).await.unwrap();
    assert_eq!(stored, Persisted::New(format!("{name}-2")));
}

#[tokio::test]
async fn at_most_ten_thousand_changes_are_stored() {
    let store = Arc::new(Mutex::new(StoredChanges {
        others: ChangeLimits::default().in_cluster - 1,
        ..StoredChanges::default()
    }));
    let changes = changes(&store);
    changes.store(&spec("u-1"), soon()).await.unwrap();
    let full = changes.store(&to_another_value("u-2"), soon()).await;
    let (scope, limit) = (LimitScope::Cluster, 10_000);
    assert_eq!(full, Err(PersistError::Full { scope, limit }));
    // A retry needs no room.
    let retried = changes.store(&spec("u-3"), soon()).await;
    assert!(matches!(retried, Ok(Persisted::Known(_))), "{retried:?}");
}

fn by(user: &str, namespace: &str, uid: &str) -> EmergencyChangeSpec {
    let mut spec = spec(uid);
    spec.user = user.to_owned();
    spec.release.namespace = namespace.to_owned();
    spec.patch = Some(uid.to_owned());
    spec
}

#[rstest]
#[case::by_one_identity("ada", "new", Some((LimitScope::Identity, 3)))]
#[case::in_one_namespace("bob", "shop", Some((LimitScope::Namespace, 4)))]
#[case::elsewhere("bob", "new", None)]
#[tokio::test]
async fn no_identity_or_namespace_uses_up_the_limit_of_all(
    #[case] user: &str,
    #[case] namespace: &str,
    #[case] full: Option<(LimitScope, usize)>,
) {
    let store: Arc<Mutex<StoredChanges>> = Arc::default();
    let changes = changes(&store).within(ChangeLimits {
        in_cluster: 100,
        in_namespace: 4,
        of_identity: 3,
    });
    changes.census.complete();
    for (number, user) in ["ada", "ada", "ada", "eve"].iter().enumerate() {
        let spec = by(user, "shop", &format!("u-{number}"));
        changes.store(&spec, soon()).await.unwrap();
    }
    let stored = changes.store(&by(user, namespace, "u-9"), soon()).await;
    match full {
        Some((scope, limit)) => assert_eq!(stored, Err(PersistError::Full { scope, limit })),
        None => assert!(stored.is_ok(), "{stored:?}"),
    }
}

#[rstest]
#[case::no_such_kind(404, "NotFound", json!({}), "is not installed")]
#[case::no_such_namespace(404, "NotFound", json!({"kind": "namespaces"}), "404 NotFound")]
#[case::not_allowed(403, "Forbidden", json!({}), "403 Forbidden")]
#[tokio::test]
async fn the_reason_for_a_failed_write_is_reported(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] details: Value,
    #[case] says: &str,
) {
    let store = Arc::new(Mutex::new(StoredChanges {
        refuse: Some((code, status(code, reason, &details))),
        ..StoredChanges::default()
    }));
    let error = changes(&store)
        .store(&spec("u-1"), soon())
        .await
        .unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_delays_no_request() {
    let service = tower::service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, Infallible>>()
    });
    let changes = Changes::new(Client::new(service, "default"), Arc::default());
    let deadline = Instant::now() + Duration::from_millis(20);
    assert_eq!(
        changes.store(&spec("u-1"), deadline).await,
        Err(PersistError::Late)
    );
}
