//! What a real API server calls a registered webhook for, and what it keeps away; and how a
//! registration and a shared certificate hold against it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, body::Bytes, routing::post};
use helm_guard::webhook::{
    accept::{self, Limits, Options, Protocol},
    certificates::secret,
    endpoint::{Endpoint, VALIDATE_PATH},
    registration::{self, Registration, Unregistered, Written},
    tls::{self, ServingCertificate},
    upkeep::{self, Intervals, Source, Target, Upkeep},
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testbed::{ControlPlane, shared};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

const CONFIGURATION: &str = "validatingwebhookconfiguration/helm-guard";

/// Every call that came: operation, resource with subresource, name, user.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    operation: String,
    resource: String,
    name: String,
    user: String,
}

impl Calls {
    fn record(&self, review: &Value) -> Value {
        let request = &review["request"];
        let text = |path: &str| {
            request
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let resource = [text("/resource/resource"), text("/subResource")];
        self.0.lock().unwrap().push(Call {
            operation: text("/operation").to_owned(),
            resource: resource.join("/").trim_end_matches('/').to_owned(),
            // An object of a collection has its name in the old object only.
            name: [text("/name"), text("/oldObject/metadata/name")]
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_default()
                .to_owned(),
            user: text("/userInfo/username").to_owned(),
        });
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {"uid": request["uid"], "allowed": true},
        })
    }

    /// Takes what alice did since the last time. A write that meets a controller's is tried again
    /// by the API server, which then asks again.
    fn of_alice(&self) -> Vec<String> {
        let mut calls = self.0.lock().unwrap();
        let hers = calls.extract_if(.., |call| call.user == "alice@example.com");
        let mut seen: Vec<_> = hers
            .map(|call| format!("{} {} {}", call.operation, call.resource, call.name))
            .collect();
        seen.dedup();
        seen
    }

    fn of_the_control_plane(&self) -> Vec<Call> {
        let calls = self.0.lock().unwrap();
        calls
            .iter()
            .filter(|call| call.user.starts_with("system:"))
            .cloned()
            .collect()
    }
}

/// A webhook that allows everything and remembers it, registered as the guard registers itself.
struct Recorder {
    runtime: Runtime,
    calls: Calls,
    upkeep: Upkeep,
    client: Client,
}

fn registered(plane: &ControlPlane) -> Recorder {
    let runtime = Runtime::new().unwrap();
    let calls = Calls::default();
    let recording = calls.clone();
    let (upkeep, client) = runtime.block_on(async {
        let client = client(plane.admin()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let upkeep = Upkeep {
            source: Source::Memory,
            endpoint: Some(Endpoint::from_url(&url).unwrap()),
            target: Some(Target {
                client: client.clone(),
                own_namespace: None,
            }),
            serving: ServingCertificate::new(),
            registered: Arc::default(),
            intervals: Intervals {
                registration: Duration::from_millis(100),
                ..Intervals::default()
            },
        };
        let first = upkeep::begin(&upkeep).await.unwrap();
        let answer = post(move |body: Bytes| async move {
            recording
                .record(&serde_json::from_slice(&body).unwrap())
                .to_string()
        });
        let options = Options {
            protocol: Protocol::Tls(tls::server_config(&upkeep.serving).unwrap()),
            limits: Limits::default(),
            stats: Arc::default(),
        };
        let router = Router::new().route(VALIDATE_PATH, answer);
        let never = CancellationToken::new();
        tokio::spawn(accept::serve(listener, router, options, never.clone()));
        tokio::spawn(upkeep::keep(upkeep.clone(), first, never));
        (upkeep, client)
    });
    until("the registration", || upkeep.registered.is_registered());
    Recorder {
        runtime,
        calls,
        upkeep,
        client,
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came about");
        std::thread::yield_now();
    }
}

#[test]
fn the_api_server_calls_for_what_may_be_declared_and_copies_stay_away() {
    let plane = shared();
    let recorder = registered(plane);
    let calls = &recorder.calls;
    let namespace = plane.namespace("registration");
    let kubectl = |arguments: &str| {
        let words = arguments.split_whitespace();
        plane
            .kubectl()
            .cmd(plane.alice())
            .args(words)
            .args(["-n", namespace.name()])
            .ok()
    };
    let apply = |object: &Value| {
        let object = object.to_string();
        let command = plane
            .kubectl()
            .cmd(plane.alice())
            .args(["apply", "-f", "-"]);
        command.args(["-n", namespace.name()]).stdin(object).ok();
    };
    let labels = json!({"app.kubernetes.io/managed-by": "Helm", "app": "web"});
    let object = |api_version: &str, kind: &str, name: &str| {
        let metadata = json!({"name": name, "labels": labels});
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
    };

    // The API server learns of a new configuration a moment later.
    apply(&object("v1", "ConfigMap", "declared"));
    until("the first call", || {
        kubectl("annotate configmap declared --overwrite seen=not-yet");
        kubectl("annotate configmap declared seen-");
        !calls.of_alice().is_empty()
    });

    // The label, on the old object or on the new one, is what a call hangs on.
    kubectl("create configmap plain");
    kubectl("annotate configmap plain a=b");
    assert_eq!(calls.of_alice(), Vec::<String>::new());
    kubectl("label configmap plain app.kubernetes.io/managed-by=Helm");
    assert_eq!(calls.of_alice(), ["UPDATE configmaps plain"]);
    kubectl("label configmap declared app.kubernetes.io/managed-by-");
    assert_eq!(calls.of_alice(), ["UPDATE configmaps declared"]);
    kubectl("delete configmap plain declared");
    assert_eq!(calls.of_alice(), ["DELETE configmaps plain"]);

    // A collection is one call an object, without a name in the request.
    for name in ["one", "two"] {
        apply(&object("v1", "ConfigMap", name));
    }
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let collection = [
        "delete",
        "--raw",
        &format!("{path}?labelSelector=app%3Dweb"),
    ];
    plane.kubectl().cmd(plane.alice()).args(collection).ok();
    let mut deleted = calls.of_alice();
    deleted.sort();
    assert_eq!(deleted, ["DELETE configmaps one", "DELETE configmaps two"]);

    // Scale is seen although it has no labels.
    let container = json!({"name": "web", "image": "registry.example/web:1"});
    let mut deployment = object("apps/v1", "Deployment", "web");
    deployment["spec"] = json!({
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    });
    let mut service = object("v1", "Service", "web");
    service["spec"] = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    apply(&deployment);
    apply(&service);
    kubectl("rollout status deployment web --timeout=60s");
    kubectl("scale deployment web --replicas=3");
    assert_eq!(calls.of_alice(), ["UPDATE deployments/scale web"]);

    // A rollout and its end move pods, replica sets and endpoints that carry the label too.
    kubectl("set image deployment web web=registry.example/web:2");
    kubectl("rollout status deployment web --timeout=60s");
    kubectl("delete service web");
    kubectl("delete deployment web");
    kubectl("wait --for=delete pod -l app=web --timeout=60s");
    let seen = calls.of_alice();
    let expected = [
        "UPDATE deployments web",
        "DELETE services web",
        "DELETE deployments web",
    ];
    assert_eq!(seen, expected);
    let copies = [
        "pods",
        "replicasets",
        "endpoints",
        "endpointslices",
        "controllerrevisions",
    ];
    let of_copies: Vec<_> = calls
        .of_the_control_plane()
        .into_iter()
        .filter(|call| copies.contains(&call.resource.as_str()))
        .collect();
    assert_eq!(of_copies, []);

    // A chart may declare the same kinds: what a person does to one is seen.
    let mut pod = object("v1", "Pod", "bare");
    pod["spec"] = json!({"containers": [container]});
    apply(&pod);
    kubectl("annotate pod bare a=b");
    assert_eq!(calls.of_alice(), ["UPDATE pods bare"]);
    apply(&object("coordination.k8s.io/v1", "Lease", "leader"));
    kubectl("annotate lease leader a=b");
    kubectl("delete lease leader");
    assert_eq!(calls.of_alice(), ["DELETE leases leader"]);

    // The cluster's own namespace stays out of reach.
    let system = |arguments: &[&str]| {
        let command = plane
            .kubectl()
            .cmd(plane.alice())
            .args(["-n", "kube-system"]);
        command.args(arguments).ok();
    };
    system(&["create", "configmap", "system"]);
    system(&[
        "label",
        "configmap",
        "system",
        "app.kubernetes.io/managed-by=Helm",
    ]);
    system(&["delete", "configmap", "system"]);
    assert_eq!(calls.of_alice(), Vec::<String>::new());

    holds_against_the_api_server(plane, &recorder);
    replicas_agree_on_one_certificate(&recorder, namespace.name());
}

fn holds_against_the_api_server(plane: &ControlPlane, recorder: &Recorder) {
    let Recorder {
        runtime,
        upkeep,
        client,
        ..
    } = recorder;
    let wanted = Registration {
        endpoint: upkeep.endpoint.clone().unwrap(),
        ca_bundle: upkeep.serving.ca_bundle(),
        own_namespace: None,
    };
    // What the API server fills in is no difference: it was written once, however often looked at.
    let looked = runtime
        .block_on(registration::ensure(client, &wanted))
        .unwrap();
    assert_eq!(
        (looked, upkeep.registered.writes()),
        (Written::Unchanged, 1)
    );

    let admin = |arguments: &[&str]| plane.kubectl().cmd(plane.admin()).args(arguments).ok();
    admin(&["delete", CONFIGURATION]);
    until("the registration's return", || {
        upkeep.registered.writes() == 2
    });
    let open = r#"[{"op": "replace", "path": "/webhooks/0/objectSelector", "value": {}}]"#;
    admin(&["patch", CONFIGURATION, "--type=json", "-p", open]);
    until("the registration's repair", || {
        upkeep.registered.writes() == 3
    });
    assert_eq!(
        runtime.block_on(upkeep::end(upkeep)).unwrap(),
        Unregistered::Deleted
    );
}

fn replicas_agree_on_one_certificate(recorder: &Recorder, namespace: &str) {
    let Recorder {
        runtime, client, ..
    } = recorder;
    let endpoint = Endpoint::from_service(&format!("{namespace}/helm-guard")).unwrap();
    let at = |now| secret::ensure(client, namespace, &endpoint, now);
    let both = |now| {
        runtime
            .block_on(async { tokio::try_join!(at(now), at(now)) })
            .unwrap()
    };
    let made = both(SystemTime::now());
    let renewed = both(SystemTime::now() + Duration::from_secs(300 * 24 * 60 * 60));
    assert!(made.0 == made.1 && renewed.0 == renewed.1 && made.0 != renewed.0);
}
