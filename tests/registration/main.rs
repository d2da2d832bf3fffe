//! For which requests a real API server calls the registered webhook, and for which not; and how
//! the registration and a shared certificate work with it.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, body::Bytes, routing::post};
use helm_guard::webhook::{
    accept::{self, ConnectionLimits, Options, Protocol},
    certificates::secret,
    endpoint::Endpoint,
    paths::Paths,
    registrar::{self, CertificateSource, Intervals, Registrar},
    registration::{
        self, Memory, Registration, Unregistered, Written, installation::OtherInstallations,
    },
    tls,
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testbed::{ControlPlane, shared};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

mod perimeter;

const CONFIGURATION: &str = "validatingwebhookconfiguration/helm-guard";

/// Every call: operation, resource with subresource, name, user.
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
            // In a delete-collection request, only the old object has a name.
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

    /// Takes Alice's calls since the last time, without repetitions. The API server retries a write
    /// that conflicts with a controller's, and calls again.
    fn of_alice(&self) -> Vec<String> {
        let mut calls = self.0.lock().unwrap();
        let hers = calls.extract_if(.., |call| call.user == "alice@example.com");
        let mut seen: Vec<_> = hers
            .map(|call| format!("{} {} {}", call.operation, call.resource, call.name))
            .collect();
        seen.dedup();
        seen
    }

    /// The same including repeated calls.
    fn all_of_alice(&self) -> Vec<String> {
        let mut calls = self.0.lock().unwrap();
        let hers = calls.extract_if(.., |call| call.user == "alice@example.com");
        hers.map(|call| format!("{} {} {}", call.operation, call.resource, call.name))
            .collect()
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

/// A webhook that allows and records every request, registered like the guard.
struct Recorder {
    runtime: Runtime,
    calls: Calls,
    registrar: Registrar,
    client: Client,
}

fn registered(plane: &ControlPlane) -> Recorder {
    let runtime = Runtime::new().unwrap();
    let calls = Calls::default();
    let recording = calls.clone();
    let (registrar, client) = runtime.block_on(async {
        let client = client(plane.admin()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let registrar = Registrar {
            endpoint: Some(Endpoint::from_url(&url).unwrap()),
            client: Some(client.clone()),
            intervals: Intervals {
                registration: Duration::from_millis(100),
                ..Intervals::default()
            },
            ..Registrar::new(CertificateSource::Memory)
        };
        let first = registrar::start(&registrar).await.unwrap();
        let answer = post(move |body: Bytes| async move {
            recording
                .record(&serde_json::from_slice(&body).unwrap())
                .to_string()
        });
        let options = Options {
            protocol: Protocol::Tls(
                tls::server_config(&registrar.serving, tls::HttpVersions::Http1And2.into())
                    .unwrap(),
            ),
            limits: ConnectionLimits::default(),
            stats: Arc::default(),
        };
        let router = Router::new().fallback(answer);
        let never = CancellationToken::new();
        tokio::spawn(accept::serve(listener, router, options, never.clone()));
        tokio::spawn(registrar::run(registrar.clone(), first, never));
        (registrar, client)
    });
    until("the registration", || registrar.state.is_registered());
    Recorder {
        runtime,
        calls,
        registrar,
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
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One registration and one namespace in which Alice acts.
struct Scene<'a> {
    plane: &'a ControlPlane,
    namespace: &'a str,
    calls: &'a Calls,
}

impl Scene<'_> {
    fn kubectl(&self, arguments: &str) {
        let command = self.plane.kubectl().cmd(self.plane.alice());
        command
            .args(arguments.split_whitespace())
            .args(["-n", self.namespace])
            .ok();
    }

    fn apply(&self, object: &Value) {
        let command = self.plane.kubectl().cmd(self.plane.alice());
        let command = command.args(["apply", "-f", "-", "-n", self.namespace]);
        command.stdin(object.to_string()).ok();
    }

    fn seen(&self, expected: &[&str]) {
        assert_eq!(self.calls.of_alice(), expected);
    }
}

fn labels() -> Value {
    json!({"app.kubernetes.io/managed-by": "Helm", "app": "web"})
}

fn object(api_version: &str, kind: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "labels": labels()});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
}

/// A single test, because the configuration applies to the whole cluster and its parts would see each other's
/// calls.
#[test]
fn every_served_subresource_is_evaluated_or_writes_no_declared_field() {
    perimeter::every_served_subresource_is_seen_or_harmless(shared());
}

#[test]
fn the_api_server_calls_the_webhook_for_declared_objects_and_not_for_copies() {
    let plane = shared();
    let recorder = registered(plane);
    let namespace = plane.namespace("registration");
    let scene = Scene {
        plane,
        namespace: namespace.name(),
        calls: &recorder.calls,
    };

    // The API server notices a new configuration a moment later.
    scene.apply(&object("v1", "ConfigMap", "declared"));
    until("the first call", || {
        scene.kubectl("annotate configmap declared --overwrite seen=not-yet");
        scene.kubectl("annotate configmap declared seen-");
        !scene.calls.of_alice().is_empty()
    });
    the_label_on_either_object_brings_a_call(&scene);
    each_object_of_a_collection_brings_a_call(&scene);
    copies_of_controllers_bring_none(&scene);
    manual_changes_of_the_same_kinds_cause_a_call(&scene);
    the_clusters_own_namespace_is_within_reach(&scene);
    perimeter::everything(&scene);
    the_registration_holds(plane, &recorder);
    replicas_agree_on_one_certificate(&recorder, namespace.name());
}

fn the_label_on_either_object_brings_a_call(scene: &Scene<'_>) {
    scene.kubectl("create configmap plain");
    scene.kubectl("annotate configmap plain a=b");
    scene.seen(&[]);
    scene.kubectl("label configmap plain app.kubernetes.io/managed-by=Helm");
    scene.seen(&["UPDATE configmaps plain"]);
    scene.kubectl("label configmap declared app.kubernetes.io/managed-by-");
    scene.seen(&["UPDATE configmaps declared"]);
    scene.kubectl("delete configmap plain declared");
    scene.seen(&["DELETE configmaps plain"]);
}

fn each_object_of_a_collection_brings_a_call(scene: &Scene<'_>) {
    for name in ["one", "two"] {
        scene.apply(&object("v1", "ConfigMap", name));
    }
    let path = format!("/api/v1/namespaces/{}/configmaps", scene.namespace);
    let collection = [
        "delete",
        "--raw",
        &format!("{path}?labelSelector=app%3Dweb"),
    ];
    scene
        .plane
        .kubectl()
        .cmd(scene.plane.alice())
        .args(collection)
        .ok();
    let mut deleted = scene.calls.of_alice();
    deleted.sort();
    assert_eq!(deleted, ["DELETE configmaps one", "DELETE configmaps two"]);
}

fn copies_of_controllers_bring_none(scene: &Scene<'_>) {
    let mut deployment = object("apps/v1", "Deployment", "web");
    deployment["spec"] = json!({
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": labels()}, "spec": {"containers": [container()]}},
    });
    let mut service = object("v1", "Service", "web");
    service["spec"] = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    scene.apply(&deployment);
    scene.apply(&service);
    scene.kubectl("rollout status deployment web --timeout=60s");
    // Its Scale has no labels, and the webhook is called.
    scene.kubectl("scale deployment web --replicas=3");
    scene.seen(&["UPDATE deployments/scale web"]);
    scene.kubectl("set image deployment web web=registry.example/web:2");
    scene.kubectl("rollout status deployment web --timeout=60s");
    scene.kubectl("delete service web");
    scene.kubectl("delete deployment web");
    scene.kubectl("wait --for=delete pod -l app=web --timeout=60s");
    scene.seen(&[
        "UPDATE deployments web",
        "DELETE services web",
        "DELETE deployments web",
    ]);
    let copies = [
        "pods",
        "replicasets",
        "endpoints",
        "endpointslices",
        "controllerrevisions",
    ];
    let mut seen = scene.calls.of_the_control_plane();
    seen.retain(|call| copies.contains(&call.resource.as_str()));
    assert_eq!(seen, []);
}

fn container() -> Value {
    json!({"name": "web", "image": "registry.example/web:1"})
}

fn manual_changes_of_the_same_kinds_cause_a_call(scene: &Scene<'_>) {
    let mut pod = object("v1", "Pod", "bare");
    pod["spec"] = json!({"containers": [container()]});
    scene.apply(&pod);
    scene.kubectl("annotate pod bare a=b");
    scene.seen(&["UPDATE pods bare"]);
    scene.apply(&object("coordination.k8s.io/v1", "Lease", "leader"));
    scene.kubectl(r#"patch lease leader --type=merge -p {"spec":{"holderIdentity":"b"}}"#);
    scene.seen(&[]);
    scene.kubectl("label lease leader app.kubernetes.io/managed-by-");
    scene.seen(&["UPDATE leases leader"]);
    scene.kubectl("label lease leader app.kubernetes.io/managed-by=Helm");
    scene.seen(&["UPDATE leases leader"]);
    scene.kubectl("delete lease leader");
    scene.seen(&["DELETE leases leader"]);
    a_declared_object_is_not_a_copy(scene);
}

fn the_clusters_own_namespace_is_within_reach(scene: &Scene<'_>) {
    let system = Scene {
        namespace: "kube-system",
        ..*scene
    };
    system.kubectl("create configmap system");
    system.kubectl("label configmap system app.kubernetes.io/managed-by=Helm");
    system.seen(&["UPDATE configmaps system"]);
    system.kubectl("delete configmap system");
    system.seen(&["DELETE configmaps system"]);
}

fn the_registration_holds(plane: &ControlPlane, recorder: &Recorder) {
    let Recorder {
        runtime,
        registrar,
        client,
        ..
    } = recorder;
    let wanted = Registration {
        ca_bundle: registrar.serving.ca_bundle(),
        ..Registration::new(
            registrar.endpoint.clone().unwrap(),
            registrar.paths.newest(),
        )
    };
    let (paths, others) = (Paths::new(), OtherInstallations::default());
    let memory = Memory {
        paths: &paths,
        others: &others,
    };
    // Defaults of the API server are not drift: the registration was written once.
    let looked = runtime
        .block_on(registration::ensure(client, &wanted, memory))
        .unwrap();
    assert_eq!(
        (looked.written, registrar.state.writes()),
        (Written::Unchanged, 1)
    );

    let admin = |arguments: &[&str]| plane.kubectl().cmd(plane.admin()).args(arguments).ok();
    admin(&["delete", CONFIGURATION]);
    until("the registration's return", || {
        registrar.state.writes() == 2
    });
    let open = r#"[{"op": "replace", "path": "/webhooks/0/objectSelector", "value": {}}]"#;
    admin(&["patch", CONFIGURATION, "--type=json", "-p", open]);
    until("the registration's repair", || {
        registrar.state.writes() == 3
    });
    assert_eq!(
        runtime.block_on(registrar::unregister(registrar)).unwrap(),
        Unregistered::Deleted
    );
}

fn replicas_agree_on_one_certificate(recorder: &Recorder, namespace: &str) {
    let Recorder {
        runtime, client, ..
    } = recorder;
    let endpoint = Endpoint::from_service(&format!("{namespace}/helm-guard")).unwrap();
    let at = |now| secret::ensure(client, namespace, (&endpoint, None), now);
    let both = |now| {
        runtime
            .block_on(async { tokio::try_join!(at(now), at(now)) })
            .unwrap()
    };
    let made = both(SystemTime::now());
    let renewed = both(SystemTime::now() + Duration::from_secs(300 * 24 * 60 * 60));
    assert!(made.0 == made.1 && renewed.0 == renewed.1 && made.0 != renewed.0);
}

/// A Service's selector, or a label, can make controllers write to declared endpoints.
fn a_declared_object_is_not_a_copy(scene: &Scene<'_>) {
    let marked = |api_version: &str, kind: &str| {
        let mut marked = object(api_version, kind, "partner");
        marked["metadata"]["annotations"] = json!({
            "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": scene.namespace,
        });
        marked
    };
    let mut service = marked("v1", "Service");
    service["spec"] = json!({"ports": [{"port": 80}]});
    let mut endpoints = marked("v1", "Endpoints");
    endpoints["subsets"] = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]);
    let mut pod = marked("v1", "Pod");
    pod["spec"] = json!({"containers": [container()]});
    for object in [service, endpoints, pod] {
        scene.apply(&object);
    }
    let seen = |what: &str| {
        until(what, || {
            let calls = scene.calls.of_the_control_plane();
            calls
                .iter()
                .any(|call| format!("{} {} {}", call.operation, call.resource, call.name) == what)
        });
    };
    scene.kubectl(r#"patch service partner --type=merge -p {"spec":{"selector":{"app":"web"}}}"#);
    seen("UPDATE endpoints partner");
    let mut adopting = object("apps/v1", "ReplicaSet", "adopting");
    adopting["spec"] = json!({
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": labels()}, "spec": {"containers": [container()]}},
    });
    scene.apply(&adopting);
    seen("UPDATE pods partner");
    scene.kubectl("delete replicaset adopting");
    scene.kubectl("delete service partner");
    scene.kubectl("delete endpoints partner --ignore-not-found");
    scene.kubectl("delete pod partner --ignore-not-found --grace-period=0 --force");
    scene.calls.of_alice();
}
