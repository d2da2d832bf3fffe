//! Following a policy file, in a cluster without a policy object, or with one that sets the kill switch.

use std::sync::atomic::{AtomicUsize, Ordering};

use helm_guard_core::api::Mode;
use http::{Request, Response};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    by_file::{POLL_INTERVAL, compiled},
    *,
};
use crate::{
    record::{
        alerts::Alerts, audit::AuditLog, emergency_alerts::EmergencyAlerts, events,
        metrics::Metrics,
    },
    webhook::admin,
};

fn policy(mode: &str) -> String {
    format!("apiVersion: helm-guard.dev/v1alpha1\nkind: GuardPolicy\nspec: {{mode: {mode}}}\n")
}

async fn turns(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    panic!("it never came about");
}

/// An API server that has this object, if any, and shows changes by lists alone.
fn cluster(object: Arc<Mutex<Option<Value>>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let items: Vec<Value> = object.lock().clone().into_iter().collect();
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
        let is_list = request.uri().path().ends_with("guardpolicies");
        async move {
            if is_watch {
                // A server that has forgotten what it was asked from: then it is listed again.
                tokio::time::sleep(Duration::from_secs(30)).await;
                let gone = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410,
                    "status": "Failure", "reason": "Expired", "message": "too old", "metadata": {}}});
                return Response::builder().body(Body::from(format!("{gone}\n").into_bytes()));
            }
            let (status, body) = match (is_list, items.first()) {
                (true, _) => (
                    200,
                    json!({"kind": "GuardPolicyList", "apiVersion": "helm-guard.dev/v1alpha1",
                        "metadata": {"resourceVersion": "1"}, "items": items}),
                ),
                (false, Some(object)) => (200, object.clone()),
                (false, None) => (
                    404,
                    json!({"kind": "Status", "code": 404, "reason": "NotFound"}),
                ),
            };
            Response::builder()
                .status(status)
                .body(Body::from(body.to_string().into_bytes()))
        }
    });
    Client::new(service, "default")
}

/// The same without the right to write, and how often it was tried.
fn read_only(object: Arc<Mutex<Option<Value>>>) -> (Client, Arc<AtomicUsize>) {
    let inner = cluster(object);
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, count) = (inner.clone(), Arc::clone(&count));
        async move {
            if request.method() == http::Method::GET {
                return inner.send(request).await;
            }
            count.fetch_add(1, Ordering::SeqCst);
            let status = json!({"kind": "Status", "code": 403, "reason": "Forbidden",
                "status": "Failure", "message": "no", "metadata": {}});
            let body = Body::from(status.to_string().into_bytes());
            Ok(Response::builder().status(403).body(body).unwrap())
        }
    });
    (Client::new(service, "default"), refused)
}

fn object(uid: &str, spec: &Value) -> Value {
    json!({"apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy", "spec": spec,
        "metadata": {"name": "default", "uid": uid, "generation": 1, "resourceVersion": "1"}})
}

/// A keeper, and what is seen of it.
struct Scene {
    live: Live,
    status: Arc<PolicyStatus>,
    registered: Arc<RegistrationState>,
}

impl Scene {
    fn new(policy: Policy, need: PolicyNeed) -> (Self, PolicyKeeper) {
        let (events, _unsent) = events::queue();
        let recorder = Arc::new(Recorder {
            metrics: Metrics::new(Default::default),
            audit: AuditLog::new("p", std::io::sink()),
            events,
            alerts: Alerts::default(),
            emergency_alerts: EmergencyAlerts::default(),
            forecast: Arc::default(),
            is_led: Arc::default(),
        });
        let scene = Self {
            live: policy.live(),
            status: Arc::default(),
            registered: Arc::default(),
        };
        let terms = PolicyTerms {
            grace: Duration::from_secs(300),
            need,
        };
        let keeper = PolicyKeeper::new(
            Arc::clone(&scene.live),
            Arc::clone(&scene.status),
            recorder,
            Arc::clone(&scene.registered),
            terms,
        );
        (scene, keeper)
    }

    fn mode(&self) -> Mode {
        self.live.load().default_mode()
    }

    fn is_suspended(&self) -> bool {
        let is_on = self.live.load().suspension().is_some();
        assert_eq!(is_on, self.registered.is_suspended());
        assert_eq!(is_on, self.status.get().suspension.is_some());
        is_on
    }
}

fn flags(mode: &str) -> Policy {
    compiled(&policy(mode)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_file_is_followed_and_a_bad_one_keeps_the_last_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy("Warn")).unwrap();
    let (first, loaded) = read(&path).unwrap();
    let (scene, keeper) = Scene::new(loaded, PolicyNeed::Optional);
    let following = tokio::spawn(keeper.follow_file(cluster(Arc::default()), path.clone(), first));
    std::fs::write(&path, policy("Audit")).unwrap();
    turns(|| scene.mode() == Mode::Audit).await;
    turns(|| matches!(scene.status.health(), admin::Health::Ok)).await;
    assert_eq!(scene.status.get().loaded.origin, Origin::File);

    std::fs::write(&path, policy("Denny")).unwrap();
    turns(|| scene.status.get().error.is_some()).await;
    assert_eq!(scene.mode(), Mode::Audit);
    assert!(
        matches!(scene.status.health(), admin::Health::Degraded(error) if error.contains("Denny"))
    );

    std::fs::remove_file(&path).unwrap();
    turns(|| matches!(scene.status.health(), admin::Health::Degraded(error) if error.contains("read"))).await;
    std::fs::write(&path, policy("Deny")).unwrap();
    turns(|| scene.status.get().error.is_none()).await;
    assert_eq!(scene.mode(), Mode::Deny);
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn the_switch_in_the_cluster_suspends_a_guard_with_its_policy_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy("Deny")).unwrap();
    let (first, loaded) = read(&path).unwrap();
    let (scene, keeper) = Scene::new(loaded, PolicyNeed::Optional);
    let there = Arc::new(Mutex::new(Some(object(
        "a",
        &json!({"suspend": true, "mode": "Audit"}),
    ))));
    let following = tokio::spawn(keeper.follow_file(cluster(Arc::clone(&there)), path, first));
    turns(|| scene.is_suspended()).await;
    assert_eq!(scene.mode(), Mode::Deny);
    *there.lock() = Some(object("b", &json!({"suspend": false})));
    turns(|| !scene.is_suspended()).await;
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn the_switch_works_in_a_policy_that_is_otherwise_wrong() {
    let (scene, keeper) = Scene::new(flags("Deny"), PolicyNeed::Optional);
    let wrong = object("a", &json!({"suspend": true, "mode": "Denny"}));
    let following = tokio::spawn(keeper.follow_object(cluster(Arc::new(Mutex::new(Some(wrong))))));
    turns(|| scene.is_suspended()).await;
    assert_eq!(scene.mode(), Mode::Deny);
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn a_policy_whose_status_cannot_be_written_is_in_force_and_followed() {
    let (scene, keeper) = Scene::new(flags("Audit"), PolicyNeed::Optional);
    let there = Arc::new(Mutex::new(Some(object("a", &json!({"mode": "Deny"})))));
    let (client, refused) = read_only(Arc::clone(&there));
    let following = tokio::spawn(keeper.follow_object(client));
    turns(|| scene.mode() == Mode::Deny).await;
    turns(|| refused.load(Ordering::SeqCst) > 0).await;
    assert!(matches!(scene.status.health(), admin::Health::Noted(_)));
    *there.lock() = Some(object("b", &json!({"mode": "Warn"})));
    turns(|| scene.mode() == Mode::Warn).await;
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_vanishes_stays_until_it_is_surely_gone() {
    let (scene, keeper) = Scene::new(flags("Audit"), PolicyNeed::Optional);
    let there = Arc::new(Mutex::new(Some(object("a", &json!({"mode": "Deny"})))));
    let following = tokio::spawn(keeper.follow_object(cluster(Arc::clone(&there))));
    turns(|| scene.mode() == Mode::Deny).await;

    *there.lock() = None;
    turns(|| scene.status.get().is_missing).await;
    assert_eq!(scene.mode(), Mode::Deny);
    assert!(matches!(scene.status.health(), admin::Health::Degraded(_)));

    // Recreated with the generation of the first one.
    *there.lock() = Some(object("b", &json!({"mode": "Warn"})));
    turns(|| scene.mode() == Mode::Warn).await;
    turns(|| !scene.status.get().is_missing).await;

    *there.lock() = None;
    let gone = tokio::time::Instant::now();
    turns(|| scene.mode() == Mode::Audit).await;
    assert!(gone.elapsed() >= Duration::from_secs(300));
    turns(|| !scene.status.get().is_missing).await;
    assert!(
        matches!(scene.status.health(), admin::Health::Degraded(what) if what.contains("mode: Warn to Audit"))
    );
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_requires_a_policy_waits_for_one_and_keeps_it() {
    let (scene, keeper) = Scene::new(flags("Audit"), PolicyNeed::Required);
    let there = Arc::<Mutex<Option<Value>>>::default();
    let following = tokio::spawn(keeper.follow_object(cluster(Arc::clone(&there))));
    turns(|| matches!(scene.status.health(), admin::Health::Missing(what) if what.contains("--require-policy"))).await;
    *there.lock() = Some(object("a", &json!({"mode": "Deny"})));
    turns(|| scene.mode() == Mode::Deny).await;
    // The flags deny nothing, and readiness says so.
    assert!(
        matches!(scene.status.health(), admin::Health::Noted(what) if what.contains("mode Audit becomes Deny"))
    );
    *there.lock() = None;
    turns(|| scene.status.get().is_missing).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(scene.mode(), Mode::Deny);
    following.abort();
}
