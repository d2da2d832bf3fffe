//! A guard in Deny mode that compares through the version of the manifest, and how to wait until it does.

use serde_json::Value;
use testbed::{Guard, Output, shared};

use crate::{
    scene::{Scene, eventually},
    turn::Turn,
};

/// A guard of its own for each test, because tests here read metrics of the whole guard.
pub(crate) fn guard(turn: &Turn) -> Guard {
    turn.start(Turn::config("Deny").args(["--break-glass-group", "system:masters"]))
}

/// Waits until a dry run of the change is denied with these words: from then on the API server
/// converts for this kind.
pub(crate) fn await_refusal(scene: &Scene, object: &str, patch: &Value, words: &str) {
    await_dry_run(scene, object, patch, |dry_run| {
        !dry_run.status.success() && dry_run.says(words)
    });
}

/// Waits until a dry run of the change is allowed without a warning: from then on the call in
/// the version of the request defers to the one in the version of the manifest.
pub(crate) fn await_silence(scene: &Scene, object: &str, patch: &Value) {
    await_dry_run(scene, object, patch, |dry_run| {
        dry_run.status.success() && dry_run.stderr.is_empty()
    });
}

fn await_dry_run(scene: &Scene, object: &str, patch: &Value, accepts: impl Fn(&Output) -> bool) {
    eventually(&format!("another answer to {patch} on {object}"), || {
        let dry_run = scene.patch(object, "merge", patch);
        accepts(&dry_run.arg("--dry-run=server").run()).then_some(())
    });
}

/// The names of the registered version entries.
pub(crate) fn entries() -> Vec<String> {
    let kubectl = shared().kubectl().cmd(shared().admin());
    let get = "get validatingwebhookconfiguration helm-guard -o json";
    let live = kubectl.args(get.split(' ')).ok().json();
    let entries = live["webhooks"].as_array().unwrap();
    let names = entries
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned());
    names
        .filter(|name| name.ends_with(".versions.helm-guard.dev"))
        .collect()
}
