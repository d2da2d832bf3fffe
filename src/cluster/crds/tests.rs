use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use kube::{Client, core::PartialObjectMetaExt as _};
use serde_json::json;

use super::*;

/// An API server with one CRD, `widgets.example.com`, of a generation that tests set.
struct CrdServer {
    generation: Mutex<i64>,
    status: Mutex<u16>,
    reads: AtomicUsize,
}

impl CrdServer {
    fn start() -> (Arc<Self>, Arc<Crds>) {
        let server = Arc::new(Self {
            generation: Mutex::new(1),
            status: Mutex::new(200),
            reads: AtomicUsize::new(0),
        });
        let answering = Arc::clone(&server);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let response = answering.answer(request.uri().path());
            async move {
                // Like a network, so that reads are concurrent.
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok::<_, Infallible>(response)
            }
        });
        (server, Arc::new(Crds::new(Client::new(service, "default"))))
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let status = *self.status.lock();
        let is_there = path.ends_with("/customresourcedefinitions/widgets.example.com");
        let (status, object) = match status {
            200 if is_there => (200, crd(*self.generation.lock())),
            200 => (404, failure(404, "NotFound")),
            other => (other, failure(other, "Injected")),
        };
        let mut response = Response::new(Full::new(Bytes::from(object.to_string())));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

fn failure(code: u16, reason: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": "no", "metadata": {},
    })
}

fn crd(generation: i64) -> serde_json::Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com", "uid": "u", "generation": generation },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "kind": "Widget", "plural": "widgets" },
            "versions": [{
                "name": format!("v{generation}"), "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object" } },
            }],
        },
    })
}

fn metadata(generation: i64) -> PartialObjectMeta<CustomResourceDefinition> {
    ObjectMeta {
        name: Some("widgets.example.com".into()),
        uid: Some("u".into()),
        generation: Some(generation),
        ..ObjectMeta::default()
    }
    .into_response_partial()
}

/// The watch has listed everything and is alive.
fn listed(crds: &Crds, generation: i64) {
    let mut cache = crds.cache.lock();
    cache.take(&Event::Init);
    cache.take(&Event::InitApply(metadata(generation)));
    cache.take(&Event::InitDone);
}

async fn version(crds: &Crds) -> String {
    let shape = crds.shape("example.com", "widgets").await.unwrap().unwrap();
    shape.versions[0].name.clone()
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_read_a_crd_once() {
    let (server, crds) = CrdServer::start();
    assert!(crds.cached("example.com", "widgets").is_none());
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let crds = Arc::clone(&crds);
            tokio::spawn(async move { version(&crds).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), "v1");
    }
    assert_eq!(server.reads(), 1);
    assert_eq!(
        crds.cached("example.com", "widgets").unwrap().kind,
        "Widget"
    );
}

#[tokio::test(start_paused = true)]
async fn a_crd_is_read_again_only_if_it_changed() {
    let (server, crds) = CrdServer::start();
    listed(&crds, 1);
    assert_eq!(version(&crds).await, "v1");
    crds.cache.lock().take(&Event::Apply(metadata(1)));
    assert!(
        crds.cached("example.com", "widgets").is_some(),
        "only its status changed"
    );

    *server.generation.lock() = 2;
    crds.cache.lock().take(&Event::Apply(metadata(2)));
    assert!(crds.cached("example.com", "widgets").is_none());
    assert_eq!(version(&crds).await, "v2");
    assert_eq!(server.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_crd_is_dropped_even_if_only_a_list_shows_it() {
    let (_server, crds) = CrdServer::start();
    listed(&crds, 1);
    version(&crds).await;
    crds.cache.lock().take(&Event::Delete(metadata(1)));
    assert!(crds.cached("example.com", "widgets").is_none());

    version(&crds).await;
    crds.cache.lock().take(&Event::Init);
    crds.cache.lock().take(&Event::InitDone);
    assert!(crds.cached("example.com", "widgets").is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_watch_a_crd_is_cached_for_a_minute() {
    let (server, crds) = CrdServer::start();
    version(&crds).await;
    *server.generation.lock() = 2;
    tokio::time::advance(UNWATCHED_FOR / 2).await;
    assert_eq!(version(&crds).await, "v1");
    tokio::time::advance(UNWATCHED_FOR).await;
    assert_eq!(version(&crds).await, "v2");

    listed(&crds, 2);
    tokio::time::advance(UNWATCHED_FOR * 100).await;
    assert!(crds.cached("example.com", "widgets").is_some(), "watched");
}

#[tokio::test(start_paused = true)]
async fn a_crd_that_changes_while_it_is_read_is_not_cached() {
    let (_server, crds) = CrdServer::start();
    listed(&crds, 1);
    let reading = tokio::spawn({
        let crds = Arc::clone(&crds);
        async move { version(&crds).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    crds.cache.lock().take(&Event::Apply(metadata(2)));
    assert_eq!(reading.await.unwrap(), "v1");
    assert!(crds.cached("example.com", "widgets").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_missing_crd_is_cached_and_a_failure_is_not() {
    let (server, crds) = CrdServer::start();
    assert!(
        crds.shape("metrics.k8s.io", "pods")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        crds.shape("metrics.k8s.io", "pods")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(server.reads(), 1, "the absence is cached, too");

    *server.status.lock() = 500;
    let error = crds.shape("example.com", "widgets").await.unwrap_err();
    assert!(matches!(error, CrdError::Get { .. }), "{error}");
    *server.status.lock() = 200;
    assert_eq!(version(&crds).await, "v1", "a failure is not cached");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_crd_name_is_not_requested() {
    let (server, crds) = CrdServer::start();
    for (group, plural) in [
        ("", "pods"),
        ("example.com", "../secrets"),
        ("a/b", "c"),
        ("A", "b"),
    ] {
        assert!(crds.shape(group, plural).await.unwrap().is_none());
    }
    assert_eq!(server.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_limited_and_evicts_the_least_recently_used_crd() {
    let (_server, crds) = CrdServer::start();
    version(&crds).await;
    for n in 0..2 * KEPT {
        crds.shape(&format!("g{n}.example.com"), "things")
            .await
            .unwrap();
        assert!(
            crds.cached("example.com", "widgets").is_some(),
            "used repeatedly"
        );
    }
    assert_eq!(crds.cache.lock().kept.len(), KEPT);
}
