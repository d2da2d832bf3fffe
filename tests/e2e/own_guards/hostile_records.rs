//! Records of another namespace that change faster than they can be read, or are too many to be read: they
//! do not prevent denials of unrelated releases.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, future::join_all, stream};
use helm_guard::cluster::client::{KubeconfigSelection, connect};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use rstest::rstest;
use serde_json::{Value, json};
use testbed::{GuardConfig, HelmVersion, Namespace, shared};
use tokio::runtime::Runtime;

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{ONCALL_GROUP, Scene, Screen, record_name},
    turn::Turn,
};

const MALLORY: &str = "mallory@example.com";

/// Releases whose record is constantly created, rewritten and deleted.
const RESTLESS: usize = 4;

/// The number of rewrites and denials to wait for.
const ROUNDS: usize = 60;
const DENIALS: usize = 60;

/// Longer than a busy machine needs for these.
const PATIENCE: Duration = Duration::from_secs(240);

/// More records of one release than are listed (5,000).
const MANY: u32 = 6_000;

/// A user who may do everything in one namespace, and only change `ConfigMaps` in that of the release.
async fn mallory(scene: &Scene, evil: &Namespace<'_>) -> Client {
    let admin = |namespace: &str, line: &str| {
        let kubectl = shared().kubectl().cmd(shared().admin());
        let line = line.split_whitespace();
        kubectl.args(["-n", namespace, "create"]).args(line).ok();
    };
    let ns = scene.ns.name();
    let verbs = "--verb=get,patch,delete --resource=configmaps";
    admin(ns, &format!("role painter {verbs}"));
    admin(
        ns,
        &format!("rolebinding painter --role=painter --user={MALLORY}"),
    );
    let everything = format!("rolebinding all --clusterrole=cluster-admin --user={MALLORY}");
    admin(evil.name(), &everything);
    let target = KubeconfigSelection {
        kubeconfig: Some(shared().user(MALLORY, &[]).unwrap()),
        ..KubeconfigSelection::default()
    };
    connect(&target).await.unwrap()
}

/// A record that claims the ConfigMap of another namespace, with a manifest of this many bytes more.
fn record(
    (name, revision, status): (&str, u32, &str),
    at: &str,
    victim: &str,
    padding: usize,
) -> Secret {
    let manifest = CONFIG_MAP.replace("blue", "red").replace(
        "{name: settings}",
        &format!("{{name: settings, namespace: {victim}}}"),
    );
    let manifest = format!("{manifest}---\n# {}\n", "x".repeat(padding));
    let body = json!({
        "name": name, "namespace": at, "version": revision, "info": {"status": status},
        "chart": {"metadata": {"name": "made-up", "version": "1.0.0"}}, "manifest": manifest,
    });
    let body = BASE64_STANDARD.encode(BASE64_STANDARD.encode(body.to_string()));
    secret(name, revision, status, &body)
}

fn secret(name: &str, revision: u32, status: &str, body: &str) -> Secret {
    let secret = json!({
        "type": "helm.sh/release.v1",
        "metadata": {"name": record_name(name, revision), "labels": {
            "owner": "helm", "name": name, "version": revision.to_string(), "status": status,
        }},
        "data": {"release": body},
    });
    serde_json::from_value(secret).unwrap()
}

/// Creates, rewrites and deletes a record until it is stopped, and counts the rounds.
async fn churn(
    secrets: Api<Secret>,
    name: String,
    victim: String,
    (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>),
) {
    let object_name = record_name(&name, 1);
    let at = secrets.namespace().unwrap_or_default().to_owned();
    let what = (&*name, 1, "pending-install");
    while !stop.load(Ordering::Relaxed) {
        let first = record(what, &at, &victim, 10);
        secrets
            .create(&PostParams::default(), &first)
            .await
            .unwrap();
        for padding in [100_000, 300_000, 20] {
            let next = record(what, &at, &victim, padding);
            let patch = Patch::Merge(json!({"data": next.data}));
            let params = PatchParams::default();
            secrets.patch(&object_name, &params, &patch).await.unwrap();
        }
        let params = DeleteParams::default();
        secrets.delete(&object_name, &params).await.unwrap();
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// An attacker's change of the ConfigMap, which names their own release as its owner.
fn attacks(evil: &Namespace<'_>, name: &str) -> [(&'static str, Value); 3] {
    let annotations = json!({
        "meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": evil.name(),
    });
    let labels = json!({"app.kubernetes.io/managed-by": null});
    let data = json!({"colour": "red"});
    [
        ("kubectl-edit", json!({"data": data})),
        (
            "helm",
            json!({"data": data, "metadata": {"annotations": annotations}}),
        ),
        (
            "helm",
            json!({"metadata": {"labels": labels}, "data": data}),
        ),
    ]
}

/// Whether the guard denied it.
async fn is_denied(config_maps: &Api<ConfigMap>, (manager, patch): &(&str, Value)) -> bool {
    let params = PatchParams {
        field_manager: Some((*manager).to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(patch);
    match config_maps.patch("settings", &params, &patch).await {
        Err(kube::Error::Api(status)) => {
            assert!(status.message.contains("helm-guard"), "{status:?}");
            assert!(
                status.message.contains("release \"settings\""),
                "{status:?}"
            );
            true
        }
        Err(error) => panic!("{error}"),
        Ok(_) => false,
    }
}

#[test]
fn a_constantly_changing_record_does_not_prevent_denials_of_another_release() {
    let turn = Turn::take();
    let scene = Scene::new("restless", HelmVersion::V4);
    let evil = shared().namespace("evil");
    scene.install("settings", &single(CONFIG_MAP));
    // The default policy denies rewriting a record; here the guard does not guard them.
    let policy = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
        "metadata": {"name": "default"},
        "spec": {
            "mode": "Deny", "records": {"mode": "Off"},
            "breakGlass": {"identities": [{"subjects": {"groups": [ONCALL_GROUP]}}]},
        },
    });
    let file = shared().scratch().join("unguarded-records.yaml");
    fs::write(&file, policy.to_string()).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_helm-guard"));
    let config = GuardConfig::new(binary, shared().admin(), "")
        .args(["--log-format", "json", "--drain-delay", "200ms"])
        .args(["--policy".as_ref(), file.as_os_str()]);
    let guard = turn.start(config);
    scene.settled("configmap/settings", 1);
    let before = scene.get("configmap/settings");
    Runtime::new().unwrap().block_on(async {
        let client = mallory(&scene, &evil).await;
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let churns: Vec<_> = (0..RESTLESS)
            .map(|n| {
                let secrets = Api::namespaced(client.clone(), evil.name());
                let victim = scene.ns.name().to_owned();
                let until = (Arc::clone(&stop), Arc::clone(&done));
                tokio::spawn(churn(secrets, format!("x{n}"), victim, until))
            })
            .collect();
        let config_maps: Api<ConfigMap> = Api::namespaced(client, scene.ns.name());
        let started = Instant::now();
        let (mut denials, mut passed) = (0, Vec::new());
        let is_over = |done: &AtomicUsize| done.load(Ordering::Relaxed) >= ROUNDS;
        while denials < DENIALS || !is_over(&done) {
            for attack in attacks(&evil, &format!("x{}", denials % RESTLESS)) {
                if is_denied(&config_maps, &attack).await {
                    denials += 1;
                } else {
                    passed.push(attack);
                }
            }
            assert!(started.elapsed() < PATIENCE, "{denials} denials");
        }
        stop.store(true, Ordering::Relaxed);
        for churn in join_all(churns).await {
            churn.unwrap();
        }
        let rounds = done.load(Ordering::Relaxed);
        eprintln!("{denials} denials while records were rewritten {rounds} times");
        assert_eq!(passed, []);
    });
    let after = scene.get("configmap/settings");
    assert_eq!(after["data"], before["data"]);
    assert_eq!(
        after["metadata"]["annotations"],
        before["metadata"]["annotations"]
    );
    scene.helm("uninstall settings").quiet();
    assert_eq!(guard.admin_get("/readyz").status, 200);
}

/// An object in the release's own namespace claims that the release was uninstalled; it is not a record,
/// although an administrator wrote it.
#[rstest]
#[case::in_a_config_map("ConfigMap", ("owner", "helm"))]
#[case::without_the_owner("Secret", ("team", "helm"))]
#[case::with_the_owner_in_another_case("Secret", ("owner", "Helm"))]
#[case::with_the_label_in_another_case("Secret", ("Owner", "helm"))]
fn an_object_that_helm_does_not_read_as_a_record_allows_nothing(
    #[case] kind: &str,
    #[case] (owner, value): (&str, &str),
) {
    let turn = Turn::take();
    let scene = Scene::new("no-record", HelmVersion::V4);
    scene.install("settings", &single(CONFIG_MAP));
    let _guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let body = json!({
        "name": "settings", "namespace": scene.ns.name(), "version": 99,
        "info": {"status": "uninstalled"}, "manifest": "",
    });
    let inner = BASE64_STANDARD.encode(body.to_string());
    let mut object = json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {"name": record_name("settings", 99), "labels": {
            owner: value, "name": "settings", "version": "99", "status": "uninstalled",
        }},
        "data": {"release": &inner},
    });
    if kind == "Secret" {
        object["type"] = json!("helm.sh/release.v1");
        object["data"]["release"] = json!(BASE64_STANDARD.encode(inner));
    }
    scene
        .kubectl("create -f -")
        .stdin(object.to_string())
        .quiet();
    for _ in 0..2 {
        scene
            .patch(
                "configmap/settings",
                "merge",
                &json!({"data": {"colour": "red"}}),
            )
            .denied(&["release \"settings\"", "revision 1,"]);
        scene.kubectl("delete configmap settings").denied(&[]);
    }
    scene.helm("uninstall settings").quiet();
}

/// Helm would read it as a record of another release or revision.
#[rstest]
#[case::of_another_release("name", "other", ".metadata.labels.name")]
#[case::of_another_revision("version", "98", ".metadata.labels.version")]
fn a_record_whose_labels_contradict_its_name_is_denied(
    #[case] label: &str,
    #[case] value: &str,
    #[case] says: &str,
) {
    let turn = Turn::take();
    let scene = Scene::new("contradiction", HelmVersion::V4);
    scene.install("settings", &single(CONFIG_MAP));
    let _guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let what = ("settings", 99, "uninstalled");
    let ns = scene.ns.name();
    let forged = record(what, ns, ns, 10);
    let mut forged = serde_json::to_value(forged).unwrap();
    forged["metadata"]["labels"][label] = json!(value);
    forged["apiVersion"] = json!("v1");
    forged["kind"] = json!("Secret");
    scene
        .kubectl("create -f -")
        .stdin(forged.to_string())
        .denied(&[says]);
    scene
        .patch(
            "configmap/settings",
            "merge",
            &json!({"data": {"colour": "red"}}),
        )
        .denied(&["revision 1,"]);
}

#[test]
fn a_release_with_too_many_records_allows_nothing_and_protects_its_namespace() {
    let turn = Turn::take();
    let scene = Scene::new("too-many", HelmVersion::V4);
    let evil = shared().namespace("evil");
    let chart = scene.install("settings", &single(CONFIG_MAP));
    let guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(mallory(&scene, &evil));
    runtime.block_on(async {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), evil.name());
        let started = Instant::now();
        // The newest, so that it counts.
        let what = ("x", MANY + 1, "deployed");
        let claim = record(what, evil.name(), scene.ns.name(), 10);
        secrets
            .create(&PostParams::default(), &claim)
            .await
            .unwrap();
        stream::iter(1..=MANY)
            .map(|revision| {
                let secrets = secrets.clone();
                async move {
                    let empty = secret("x", revision, "superseded", "");
                    let params = PostParams::default();
                    secrets.create(&params, &empty).await.unwrap();
                }
            })
            .buffer_unordered(16)
            .collect::<Vec<()>>()
            .await;
        eprintln!("{MANY} records in {:?}", started.elapsed());
        let config_maps: Api<ConfigMap> = Api::namespaced(client, scene.ns.name());
        for attack in attacks(&evil, "x") {
            assert!(is_denied(&config_maps, &attack).await, "{attack:?}");
        }
    });
    scene.kubectl("delete configmap settings").denied(&[]);
    let delete = format!("delete namespace {evil} --wait=false");
    scene.kubectl(&delete).denied(&["\"x\""]);
    scene
        .helm(&format!("upgrade settings {} --set a=b", chart.display()))
        .quiet();
    scene.helm("uninstall settings").quiet();
    assert_eq!(guard.admin_get("/readyz").status, 200);
    scene.oncall(&delete).ok();
}
