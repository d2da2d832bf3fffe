//! Oversized reviews: through the API server, with an object padded with characters that Go writes in
//! six bytes; and directly to the endpoint, in the API server's format.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{Guard, GuardConfig, HelmVersion};

use super::caller::{Caller, Connection, secret_path};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen},
    turn::Turn,
};

const MIB: usize = 1024 * 1024;

/// The memory that the shipped Deployment allows, in KiB.
const LIMIT_KIB: usize = 512 * 1024;

/// One `<`, as Go writes it.
const PAD: &str = "\\u003c";

fn scene(stem: &str) -> Scene {
    let scene = Scene::new(stem, HelmVersion::V4);
    scene.install("settings", &single(CONFIG_MAP));
    scene
}

/// Each stored `<` takes six bytes of a review, and a review holds both objects: this one has 10 MB.
#[rstest]
#[case::deny("Deny")]
#[case::warn("Warn")]
#[case::audit("Audit")]
fn padding_an_object_does_not_hide_a_change(#[case] mode: &str) {
    let turn = Turn::take();
    let scene = scene(&format!("padded-{}", mode.to_lowercase()));
    let guard = turn.guard(mode);
    let folder = tempfile::tempdir().unwrap();
    for key in ["one", "two"] {
        let patch = json!({"data": {key: "<".repeat(400_000)}});
        let file = folder.path().join(key);
        fs::write(&file, patch.to_string()).unwrap();
        scene
            .kubectl("patch configmap settings --type=merge --patch-file")
            .arg(&file)
            .quiet();
    }
    let attack = json!({
        "data": {"colour": "red"},
        "metadata": {"labels": {"app.kubernetes.io/managed-by": null}},
    });
    let patch = scene.patch("configmap/settings", "merge", &attack);
    let (words, decision) = ([".data.colour"], &*format!("{mode}ed").to_lowercase());
    let decision = match mode {
        "Deny" => {
            patch.denied(&words);
            "denied"
        }
        "Warn" => {
            patch.warned(&words);
            decision
        }
        _ => {
            patch.quiet();
            decision
        }
    };
    let line = guard.await_log("the attack", |line| {
        line["target"] == "audit" && line["object"]["namespace"] == scene.ns.name()
    });
    assert_eq!(line["verdict"], decision);
}

/// A guard with the memory limit of the shipped one.
fn limited(turn: &Turn, folder: &std::path::Path) -> Guard {
    let script = folder.join("helm-guard");
    let text = format!(
        "#!/bin/sh\nulimit -d {LIMIT_KIB}\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_helm-guard")
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    turn.start(GuardConfig {
        binary: &script,
        ..Turn::config("Deny")
    })
}

/// The guard's peak memory, in KiB.
fn peak(guard: &Guard) -> usize {
    let [_, pid] = guard.pids()[..] else {
        panic!("a watchdog and a guard");
    };
    let status = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status"))).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Calls the endpoint as the API server does.
struct ApiServer {
    caller: Caller,
    /// The secret path of the entry for objects.
    path: String,
    namespace: String,
}

impl ApiServer {
    fn new(guard: &Guard, scene: &Scene) -> Self {
        Self {
            caller: Caller::new(guard, scene),
            path: secret_path(guard, scene),
            namespace: scene.ns.name().to_owned(),
        }
    }

    /// A connection on which a review of `size` bytes is announced. Slow steps of an unoptimized
    /// build have the time in `timeout`.
    fn announce(&self, size: usize, timeout: &str) -> Connection {
        let path = format!("{}?timeout={timeout}", self.path);
        self.caller.announce(&path, "", size).unwrap()
    }

    /// The parts of a review that changes a declared value; padding goes between them.
    fn parts(&self) -> [String; 3] {
        let namespace = &self.namespace;
        let object = |colour: &str| {
            format!(
                r#"{{"metadata":{{"name":"settings","namespace":"{namespace}"}},"data":{{"colour":"{colour}","pad":""#
            )
        };
        [
            format!(
                r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u-1","kind":{{"group":"","version":"v1","kind":"ConfigMap"}},"resource":{{"group":"","version":"v1","resource":"configmaps"}},"name":"settings","namespace":"{namespace}","operation":"UPDATE","userInfo":{{"username":"mallory"}},"object":{}"#,
                object("red")
            ),
            format!(r#""}}}},"oldObject":{}"#, object("blue")),
            r#""}},"dryRun":false,"options":{}}}"#.to_owned(),
        ]
    }

    /// Sends a review of `size` bytes and gets the response.
    fn review(&self, size: usize) -> Value {
        let parts = self.parts();
        let bare: usize = parts.iter().map(String::len).sum();
        let padding = (size - bare) / PAD.len();
        let bytes = bare + padding * PAD.len();
        let mut connection = self.announce(bytes, "30s");
        let [head, middle, end] = &parts;
        for (text, pads) in [
            (head, padding / 2),
            (middle, padding - padding / 2),
            (end, 0),
        ] {
            connection.write_all(text.as_bytes()).unwrap();
            let pad = PAD.repeat(10_000);
            for left in (0..pads).rev().step_by(10_000).map(|last| last + 1) {
                let now = left.min(10_000) * PAD.len();
                connection.write_all(&pad.as_bytes()[..now]).unwrap();
            }
        }
        connection.flush().unwrap();
        answer(&mut connection)
    }
}

/// The response in the answering review.
fn answer(connection: &mut Connection) -> Value {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let length = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let length = head.lines().find_map(|line| {
                let line = line.to_ascii_lowercase();
                line.strip_prefix("content-length: ")?.parse::<usize>().ok()
            })?;
            (body.len() >= length).then(|| body.to_owned())
        });
        if let Some(body) = length {
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            let review: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(review["response"]["uid"], "u-1");
            return review["response"].clone();
        }
        let read = connection.read(&mut buffer).unwrap();
        assert!(read > 0, "an answer that ends: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

fn reason(response: &Value) -> &str {
    response["auditAnnotations"]["reason"].as_str().unwrap()
}

#[test]
fn reviews_of_any_size_are_answered_within_the_shipped_memory() {
    let turn = Turn::take();
    let scene = scene("sizes");
    let folder = tempfile::tempdir().unwrap();
    let guard = limited(&turn, folder.path());
    let caller = ApiServer::new(&guard, &scene);
    for (mebibytes, expected) in [
        (31, "fields-changed"),
        (33, "too-large"),
        (300, "too-large"),
    ] {
        let response = caller.review(mebibytes * MIB);
        assert_eq!(reason(&response), expected, "{mebibytes} MiB: {response}");
        assert_eq!(response["allowed"], false);
    }
    let metrics = guard.admin_get("/metrics").body;
    let counted = r#"verdict="denied",reason="too-large"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
    assert!(peak(&guard) < LIMIT_KIB, "{} KiB", peak(&guard));
}

#[test]
fn truncated_reviews_are_answered_and_block_nothing() {
    let turn = Turn::take();
    let scene = scene("halves");
    let folder = tempfile::tempdir().unwrap();
    let guard = limited(&turn, folder.path());
    let caller = ApiServer::new(&guard, &scene);
    let [head, ..] = caller.parts();
    let half = PAD.repeat(4 * MIB / PAD.len());
    let mut halves: Vec<Connection> = (0..40)
        .map(|_| {
            let mut connection = caller.announce(8 * MIB, "10s");
            connection.write_all(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    std::thread::scope(|threads| {
        for connection in &mut halves {
            threads.spawn(|| {
                // A body that exceeds the budget is not read for a while.
                connection.write_all(half.as_bytes()).unwrap();
            });
        }
        let red = json!({"data": {"colour": "red"}});
        scene
            .patch("configmap/settings", "merge", &red)
            .denied(&[".data.colour"]);
    });
    let reasons: Vec<String> = halves
        .iter_mut()
        .map(|connection| reason(&answer(connection)).to_owned())
        .collect();
    let of = |word: &str| reasons.iter().filter(|reason| *reason == word).count();
    let (late, over) = (of("deadline-exceeded"), of("over-budget"));
    assert_eq!(late + over, 40, "{reasons:?}");
    assert!(late > 0 && over > 0, "{reasons:?}");
    assert_eq!(reason(&caller.review(31 * MIB)), "fields-changed");
    assert!(peak(&guard) < LIMIT_KIB, "{} KiB", peak(&guard));
}
