//! `scan -o patch`: the script restores what is declared, and only in objects that are as the scan saw them.

use std::fs;

use rstest::rstest;
use serde_json::json;
use testbed::{HelmVersion, shared};

use super::Unguarded;

/// Texts that a shell, kubectl (which reads a patch as YAML) and the API server could each read differently.
const TEXT: &str =
    "it's \"$(id)\" `id` \\ <&> \u{85}\u{2028}\u{202e}\u{1b}[31m\u{7f}\tlast\r\nPATCH\n😀";

/// What somebody did to the release.
fn edit(unguarded: &Unguarded) {
    let scene = &unguarded.scene;
    scene.kubectl("scale deployment/myapp --replicas=7").ok();
    // A variable that is declared goes, and one that is not comes: it stays.
    scene
        .kubectl("set env deployment/myapp COLOUR- OTHER=x")
        .ok();
    // Too long for an argument.
    let limits = json!({"data": {"limits.conf": TEXT.repeat(2_000), "colour": null}});
    scene
        .kubectl("patch configmap/myapp --type=merge --patch-file=/dev/stdin")
        .stdin(limits.to_string())
        .ok();
    let args = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": ["--quiet"]}]);
    scene.patch("deployment/myapp", "json", &args).ok();
    let port = json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9}]);
    scene.patch("service/myapp", "json", &port).ok();
}

impl Unguarded {
    fn script(&self) -> String {
        let output = self.scan("-o patch");
        let script = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}\n{script:.2000}");
        script
    }
}

/// As a user runs it, from a file: it is too long for an argument.
fn run(script: &str) -> testbed::Output {
    let kubectl = shared().binaries().kubectl.display();
    let file = shared().scratch().join("restore.sh");
    let script = format!("kubectl() {{ '{kubectl}' \"$@\"; }}\n{script}");
    fs::write(&file, script).unwrap();
    let bash = shared().bash(&format!(". '{}'", file.display()));
    bash.env("KUBECONFIG", shared().admin()).run()
}

#[rstest]
fn a_script_restores_what_is_declared_and_nothing_that_changed_since(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-patch", version);
    let scene = &unguarded.scene;
    edit(&unguarded);
    let script = unguarded.script();
    assert_eq!(script.matches("\nkubectl patch ").count(), 3, "{script}");

    scene.kubectl("scale deployment/myapp --replicas=8").ok();
    let output = run(&script);
    // What kubectl says of a test that failed.
    let is_refused = output.stderr.contains("The request is invalid");
    assert!(is_refused, "{}", output.stderr);
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), json!(8));

    // The other objects were restored by the first run, and the Deployment is by a new script.
    let script = unguarded.script();
    assert_eq!(script.matches("\nkubectl patch ").count(), 1, "{script}");
    run(&script).ok();
    // Server-side apply knows that kubectl wrote the fields.
    let found = unguarded.found();
    let is_known = |line: &String| version == HelmVersion::V4 && line.starts_with("Claimed ");
    assert!(found.iter().all(is_known), "{found:?}");
    let container = scene.at("deployment/myapp", "/spec/template/spec/containers/0");
    assert_eq!(container["args"], json!(["--verbose", "--port=8080"]));
    assert_eq!(
        container["env"],
        json!([
            {"name": "COLOUR", "value": "blue"},
            {"name": "MODE", "value": "production"},
            {"name": "OTHER", "value": "x"},
        ])
    );
}

/// The script, and the values of the Secret in none of the formats.
#[rstest]
fn no_format_shows_a_secret(
    #[values(
        "table", "wide", "diff", "json", "yaml", "junit", "markdown", "sarif", "patch"
    )]
    format: &str,
) {
    let unguarded = Unguarded::new("scan-secret", HelmVersion::V3);
    let other = json!({"stringData": {"password": "another-sesame"}});
    unguarded.scene.patch("secret/myapp", "merge", &other).ok();
    let output = unguarded.scan(&format!("-o {format}"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("Secret") && text.contains("Changed"),
        "{text}"
    );
    // `sesame` in base64 depends on where it begins.
    for secret in ["sesame", "c2VzYW1l", "Nlc2FtZ", "zZXNhbW"] {
        assert!(!text.contains(secret), "{text}");
    }
}
