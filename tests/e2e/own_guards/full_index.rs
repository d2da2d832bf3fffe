//! Releases that declare more than the index may keep.

use std::fmt::Write as _;

use serde_json::{Value, json};
use testbed::HelmVersion;

use super::record_bombs::{create, gzip, release, secret};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen},
    turn::Turn,
};

/// Releases of some 650 KiB each, which is more than 16 MiB together.
const LARGE: u64 = 32;

/// Text that does not compress.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    while text.len() < 1_200_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    text
}

fn figure(metrics: &str, name: &str) -> u64 {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

#[test]
fn a_release_that_exceeds_the_index_is_evaluated_by_its_records() {
    let turn = Turn::take();
    let scene = Scene::new("full-index", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    for number in 0..LARGE {
        let (name, front) = (format!("large-{number}"), format!("front-{number}"));
        let manifest = format!(
            "{}---\n{}",
            CONFIG_MAP.replace("settings", &front),
            CONFIG_MAP
                .replace("settings", &format!("noise-{number}"))
                .replace("blue", &format!("n{}", noise(number)))
        );
        let record = gzip(release(&scene, &name, &manifest).to_string().as_bytes());
        let object: Value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"colour": "blue"},
            "metadata": {
                "name": front,
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {
                    "meta.helm.sh/release-name": name,
                    "meta.helm.sh/release-namespace": scene.ns.name(),
                },
            },
        });
        create(&scene, &[secret(&name, 1, "deployed", &record), object]);
    }
    let guard = turn.start(Turn::config("Deny").args(["--index-memory", "16"]));
    let metrics = guard.admin_get("/metrics").body;
    let outlined = figure(&metrics, "helm_guard_index_outlined");
    assert!((1..LARGE).contains(&outlined), "{outlined}");
    assert_eq!(figure(&metrics, "helm_guard_index_over_budget"), 0);
    assert!(figure(&metrics, "helm_guard_index_bytes") < 16 << 20);
    let ready = guard.admin_get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(
        ready.body.contains("beyond the index memory limit"),
        "{ready:?}"
    );

    let red = json!({"data": {"colour": "red"}});
    for number in 0..LARGE {
        let front = format!("configmap/front-{number}");
        scene.patch(&front, "merge", &red).denied(&[".data.colour"]);
        let extra = json!({"data": {"extra": "1"}});
        scene.patch(&front, "merge", &extra).quiet();
    }
    scene
        .kubectl("delete configmap settings front-0")
        .denied(&["settings", "front-0"]);
}
