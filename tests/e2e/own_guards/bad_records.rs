//! Unreadable records: they are reported, and affect no other release.

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use rstest::rstest;
use serde_json::json;
use testbed::HelmVersion;

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually, record_name},
    turn::Turn,
};

fn gzip_bomb() -> Vec<u8> {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..100 {
        bomb.write_all(&zeros).unwrap();
    }
    bomb.finish().unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Scenario 12.
#[rstest]
#[case::no_base64("@@@ not base64 @@@".to_owned())]
#[case::no_json(BASE64_STANDARD.encode(gzip("{not json")))]
#[case::truncated_gzip(BASE64_STANDARD.encode(&gzip(CONFIG_MAP)[..20]))]
#[case::gzip_bomb(BASE64_STANDARD.encode(gzip_bomb()))]
fn an_unreadable_record_is_reported_and_other_releases_stay_guarded(#[case] body: String) {
    let turn = Turn::take();
    let scene = Scene::new("corrupt", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let name = record_name("broken", 1);
    let record = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {"name": name, "labels": {
            "name": "broken", "owner": "helm", "status": "deployed", "version": "1",
        }},
        "data": {"release": BASE64_STANDARD.encode(body)},
    });
    scene.kubectl("create -f -").stdin(record.to_string()).ok();
    let guard = turn.guard("Deny");
    scene
        .kubectl("delete configmap settings")
        .denied(&["declared by Helm release \"settings\""]);
    eventually("a decode error in the metrics", || {
        let metrics = guard.admin_get("/metrics").body;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("helm_guard_index_decode_errors"))?;
        (!line.ends_with(" 0")).then_some(())
    });
    let ready = guard.admin_get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(ready.body.contains("broken"), "{ready:?}");
    scene.kubectl(&format!("delete secret {name}")).ok();
    eventually("a guard that has forgotten the record", || {
        (!guard.admin_get("/readyz").body.contains("broken")).then_some(())
    });
}

/// Helm would have rejected it, but somebody may have written the record by hand.
#[test]
fn an_invalid_yaml_document_is_reported_and_the_others_stay_guarded() {
    let turn = Turn::take();
    let scene = Scene::new("document", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    scene.rewrite_record("settings", 1, |record| {
        let manifest = record["manifest"].as_str().unwrap();
        record["manifest"] = format!("---\n{{[unclosed\n{manifest}").into();
    });
    let guard = turn.guard("Deny");
    scene.kubectl("delete configmap settings").denied(&[]);
    let metrics = guard.admin_get("/metrics").body;
    assert!(
        metrics.contains("\nhelm_guard_index_document_problems 1\n"),
        "{metrics}"
    );
    assert_eq!(guard.admin_get("/readyz").status, 200);
}

/// A release that is as large as a record can be.
#[test]
fn every_object_of_a_release_with_five_hundred_is_guarded() {
    let turn = Turn::take();
    let scene = Scene::new("many", HelmVersion::V3);
    let manifest: String = (0..500)
        .map(|number| CONFIG_MAP.replace("settings", &format!("settings-{number}")) + "---\n")
        .collect();
    let guard = turn.guard("Deny");
    let started = std::time::Instant::now();
    scene.install("many", &single(&manifest));
    eprintln!("installed in {:?}", started.elapsed());
    scene.settled("configmap/settings-499", 1);
    scene
        .kubectl("delete configmap settings-0 settings-250")
        .denied(&["settings-0", "settings-250"]);
    assert_eq!(guard.admin_get("/readyz").status, 200);
    scene.helm("uninstall many").ok();
}
