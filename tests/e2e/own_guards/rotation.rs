//! Rotation of the audit log by a real process.

use std::{fs, path::Path};

use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use crate::{
    charts::single,
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

/// A denied change whose audit line is long: it lists many fields with their values.
fn denied(scene: &Scene, number: usize) {
    let value = format!("{number}-{}", "x".repeat(100));
    let data: serde_json::Map<String, Value> = (0..100)
        .map(|key| (format!("key-{key}"), Value::from(value.clone())))
        .collect();
    let patch = json!({"data": data});
    scene
        .patch("configmap/settings", "merge", &patch)
        .denied(&[]);
}

fn logs(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn sizes(folder: &Path) -> Vec<(String, u64)> {
    let size = |name: String| {
        let metadata = fs::metadata(folder.join(&name)).unwrap();
        (name, metadata.len())
    };
    logs(folder).into_iter().map(size).collect()
}

#[test]
fn a_full_audit_log_is_renamed_and_only_so_many_are_kept() {
    let turn = Turn::take();
    let scene = Scene::new("rotation", HelmVersion::V3);
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:";
    let data = (0..100).map(|key| format!("  key-{key}: a"));
    let manifest: Vec<String> = std::iter::once(head.to_owned()).chain(data).collect();
    scene.install("settings", &single(&manifest.join("\n")));
    let folder = shared().scratch().join("audit-rotation");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("audit.log");
    let config = Turn::config("Deny")
        .args([Path::new("--audit-log-path"), &path])
        .args(["--audit-log-maxsize", "1", "--audit-log-maxbackup", "1"]);
    let guard = turn.start(config);
    scene.settled("configmap/settings", 1);
    let mut sent = 0;
    // Until the second rotation, which removes the file of the first one.
    let first = loop {
        denied(&scene, sent);
        sent += 1;
        if let [backup, _current] = logs(&folder).as_slice() {
            break backup.clone();
        }
        assert!(sent < 500, "no rotation: {:?}", sizes(&folder));
    };
    let lines = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let rotated = lines(&first);
    let size = fs::metadata(folder.join(&first)).unwrap().len();
    assert!(size <= 1 << 20, "{size}");
    // No line is lost between the files.
    eventually("the last line", || {
        (rotated.len() + lines("audit.log").len() == sent).then_some(())
    });
    let numbers = rotated.into_iter().chain(lines("audit.log"));
    let numbers: Vec<u64> = numbers
        .map(|line| line["sequence"].as_u64().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    loop {
        denied(&scene, sent);
        sent += 1;
        match logs(&folder).as_slice() {
            [backup, _current] if *backup != first => break,
            [_, _] => assert!(sent < 1_000, "no second rotation: {:?}", sizes(&folder)),
            more => assert!(more.len() <= 3, "{more:?}"),
        }
    }
    drop(guard);
}
