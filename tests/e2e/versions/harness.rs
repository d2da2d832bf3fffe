//! A guard in Deny mode, and Alice.

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{ControlPlane, Guard, HelmVersion, Invocation, Output};

use crate::turn::Turn;

/// How long the guard may take to see a release, to run discovery, and to register an entry.
const PATIENCE: Duration = Duration::from_secs(90);

/// A guard of its own for each test, because tests here read metrics of the whole guard.
pub(crate) fn guard(turn: &Turn) -> Guard {
    turn.start(Turn::config("Deny").args(["--break-glass-group", "system:masters"]))
}

/// Alice, acting in a namespace.
pub(crate) struct Scene<'a> {
    pub(crate) plane: &'a ControlPlane,
    pub(crate) namespace: &'a str,
}

impl Scene<'_> {
    pub(crate) fn helm(&self, version: HelmVersion, arguments: &[&str]) -> Output {
        let helm = self.plane.helm(version).cmd(self.plane.alice());
        helm.args(arguments).args(["-n", self.namespace]).ok()
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Invocation {
        let kubectl = self.plane.kubectl().cmd(self.plane.alice());
        kubectl.args(arguments).args(["-n", self.namespace])
    }

    /// A merge patch, through the version that kubectl prefers.
    pub(crate) fn patch(&self, object: &str, patch: &Value) -> Invocation {
        let patch = patch.to_string();
        self.kubectl(&["patch", object, "--type=merge", "-p", &patch])
    }

    /// Waits until a dry run of the change is denied with these words: from then on the API server
    /// converts for this kind.
    pub(crate) fn await_refusal(&self, object: &str, patch: &Value, words: &str) {
        self.await_dry_run(object, patch, |dry_run| {
            !dry_run.status.success() && dry_run.says(words)
        });
    }

    /// Waits until a dry run of the change is allowed without a warning: from then on the call in
    /// the version of the request defers to the one in the version of the manifest.
    pub(crate) fn await_silence(&self, object: &str, patch: &Value) {
        self.await_dry_run(object, patch, |dry_run| {
            dry_run.status.success() && dry_run.stderr.is_empty()
        });
    }

    fn await_dry_run(&self, object: &str, patch: &Value, accepts: impl Fn(&Output) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let dry_run = self.patch(object, patch).arg("--dry-run=server").run();
            if accepts(&dry_run) {
                return;
            }
            assert!(Instant::now() < deadline, "{patch}: in the end {dry_run:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The names of the registered version entries.
pub(crate) fn entries(plane: &ControlPlane) -> Vec<String> {
    let kubectl = plane.kubectl().cmd(plane.admin());
    let live = kubectl
        .args([
            "get",
            "validatingwebhookconfiguration",
            "helm-guard",
            "-o",
            "json",
        ])
        .ok()
        .json();
    let entries = live["webhooks"].as_array().unwrap();
    let names = entries
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned());
    names
        .filter(|name| name.ends_with(".versions.helm-guard.dev"))
        .collect()
}

pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: never came about");
        std::thread::sleep(Duration::from_millis(100));
    }
}
