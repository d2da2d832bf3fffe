//! Decompression bombs in records: the guard reads or reports each of them within the memory limit of
//! the shipped manifest, and evaluates the rest of the cluster.

use std::{fmt::Write as _, fs, io::Write as _, os::unix::fs::PermissionsExt, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt, stream};
use helm_guard::cluster::client::{KubeconfigSelection, connect};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use testbed::{Guard, GuardConfig, HelmVersion, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually, record_name},
    turn::Turn,
};

/// The limit of the container in `deploy/manifests/40-deployment.yaml`.
const LIMIT_MIB: u64 = 512;

/// Counted as data of the process without using memory: the stacks of its threads, 2 MiB each.
const STACKS_MIB: u64 = 128;

const MIB: usize = 1 << 20;

pub fn gzip(json: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(json).unwrap();
    encoder.finish().unwrap()
}

pub fn release(scene: &Scene, name: &str, manifest: &str) -> Value {
    json!({
        "name": name, "namespace": scene.ns.name(), "version": 1,
        "info": {"status": "deployed"},
        "chart": {"metadata": {"name": name, "version": "1.0.0"}},
        "manifest": manifest,
    })
}

pub fn secret(name: &str, revision: u32, status: &str, gzip: &[u8]) -> Value {
    let body = BASE64_STANDARD.encode(BASE64_STANDARD.encode(gzip));
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {"name": record_name(name, revision), "labels": {
            "name": name, "owner": "helm", "status": status, "version": revision.to_string(),
        }},
        "data": {"release": body},
    })
}

fn config_map(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{data}\n")
}

/// Records of each kind, by name.
fn bombs(scene: &Scene) -> Vec<(&'static str, Vec<u8>)> {
    let packed =
        |name: &str, manifest: &str| gzip(release(scene, name, manifest).to_string().as_bytes());
    let text = |mebibytes: usize| {
        let text = "x".repeat(mebibytes * MIB);
        config_map("big", &format!("  a: {text}"))
    };
    let aliases = (0..118).fold(
        format!("  a: &a {}\n", "x".repeat(MIB)),
        |mut data, number| {
            writeln!(data, "  b{number}: *a").unwrap();
            data
        },
    );
    let finalizers: Vec<String> = (0..35_000).map(|n| format!("  - a/b{n}\n")).collect();
    let finalizers = finalizers.concat();
    let finalizers = config_map("finalizers", "  a: b")
        .replace("data:", &format!("  finalizers:\n{finalizers}data:"));
    let numbers = format!(
        "apiVersion: v1\nkind: A\nmetadata: {{name: a}}\nspec: [{}1]",
        "1,".repeat(7 * MIB)
    );
    let documents: Vec<String> = (0..60_000)
        .map(|n| format!("---\n{{apiVersion: v1, kind: A{n}, metadata: {{name: a{n}}}}}\n"))
        .collect();
    let mut hooks = release(scene, "hooks", "");
    hooks["hooks"] = json!(vec![json!({}); 4 * MIB]);
    let mut lies = packed("lies", &text(15));
    let end = lies.len() - 4;
    lies[end..].copy_from_slice(&1000_u32.to_le_bytes());
    vec![
        ("thousandfold", packed("thousandfold", &text(58))),
        ("largest", packed("largest", &text(15))),
        ("aliases", packed("aliases", &config_map("big", &aliases))),
        ("finalizers", packed("finalizers", &finalizers)),
        ("numbers", packed("numbers", &numbers)),
        ("documents", packed("documents", &documents.concat())),
        ("hooks", gzip(hooks.to_string().as_bytes())),
        ("lies", lies),
    ]
}

/// The guard with a kernel limit on its memory. A control group would be closer to the container's
/// limit, but needs privileges.
fn limited() -> PathBuf {
    let path = shared().scratch().join("helm-guard-limited");
    let script = format!(
        "#!/bin/sh\nulimit -d {} && exec {} \"$@\"\n",
        (LIMIT_MIB + STACKS_MIB) * 1024,
        env!("CARGO_BIN_EXE_helm-guard")
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The guard's peak memory.
fn peak_mib(guard: &Guard) -> u64 {
    let pid = guard.pids()[1];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024
}

pub fn create(scene: &Scene, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    scene.kubectl("create -f -").stdin(list.to_string()).ok();
}

/// The number of empty records of one name. `HELM_GUARD_EMPTY_RECORDS=100000` takes some minutes.
fn empty_records() -> u32 {
    let asked = std::env::var("HELM_GUARD_EMPTY_RECORDS");
    asked.map_or(2_000, |number| number.parse().expect("a number of records"))
}

fn create_empty(scene: &Scene, count: u32) {
    let target = KubeconfigSelection {
        kubeconfig: Some(shared().admin().to_owned()),
        ..KubeconfigSelection::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let secrets: Api<Secret> =
            Api::namespaced(connect(&target).await.unwrap(), scene.ns.name());
        stream::iter(1..=count)
            .for_each_concurrent(16, |revision| {
                let empty = secret("empty", revision, "superseded", b"");
                let secrets = secrets.clone();
                async move {
                    let empty = serde_json::from_value(empty).unwrap();
                    let params = PostParams::default();
                    secrets.create(&params, &empty).await.unwrap();
                }
            })
            .await;
    });
}

#[test]
fn decompression_bombs_are_reported_and_the_rest_is_evaluated_within_the_memory_limit() {
    let turn = Turn::take();
    let scene = Scene::new("bombs", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let bombs = bombs(&scene);
    let records: Vec<Value> = bombs
        .iter()
        .map(|(name, gzip)| secret(name, 1, "deployed", gzip))
        .collect();
    create(&scene, &records);
    // All but one of the many records of a name are superseded.
    create_empty(&scene, empty_records());

    let binary = limited();
    let mut config = GuardConfig {
        binary: &binary,
        ..Turn::config("Deny")
    };
    // Otherwise the allocator reserves a gibibyte at once, which counts before it is used.
    config
        .env
        .push(("MIMALLOC_ARENA_EAGER_COMMIT".into(), "0".into()));
    let guard = turn.start(config);
    let is_named = |name: &str| {
        let record = format!("{}/{name}", scene.ns.name());
        guard.log().iter().any(|line| {
            let fields = [&line["record"], &line["fields"]["record"]];
            line["level"] == "WARN"
                && fields
                    .iter()
                    .any(|field| field.as_str().is_some_and(|field| field.contains(&record)))
        })
    };
    for (name, _) in &bombs {
        if *name != "finalizers" {
            assert!(is_named(name), "{name} is named in the log");
        }
    }
    let ready = guard.admin_get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(ready.body.contains("thousandfold"), "{ready:?}");
    assert!(ready.body.contains("aliases"), "{ready:?}");
    scene
        .kubectl("delete configmap settings")
        .denied(&["declared by Helm release \"settings\""]);
    eprintln!("peak after the start: {} MiB", peak_mib(&guard));

    // Many of each at once, while the guard serves.
    for round in 2..6 {
        let records: Vec<Value> = bombs
            .iter()
            .map(|(name, gzip)| secret(&format!("{name}-{round}"), 1, "deployed", gzip))
            .collect();
        create(&scene, &records);
    }
    let last = format!("{}-5", "lies");
    eventually("a guard that has tried them all", || {
        is_named(&last).then_some(())
    });
    // Somebody relabels one: both of its states would be read.
    for name in ["thousandfold", "largest", "lies", "hooks"] {
        let name = record_name(name, 1);
        let line = format!("label secret {name} status=superseded --overwrite");
        let output = scene.kubectl(&line).run();
        assert!(
            output.says("helm-guard"),
            "{}{}",
            output.stdout,
            output.stderr
        );
    }
    scene
        .kubectl("delete configmap settings")
        .denied(&["declared by Helm release \"settings\""]);
    let peak = peak_mib(&guard);
    eprintln!("peak: {peak} MiB");
    assert!(peak < LIMIT_MIB, "{peak} MiB");
    assert_eq!(guard.admin_get("/readyz").status, 200);
}
