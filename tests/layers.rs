//! The structure in ARCHITECTURE.md, where Cargo and the compiler do not enforce it already.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::process::Command;

/// Crates that give access to a network, a runtime or a cluster.
const IO: [&str; 7] = [
    "hyper",
    "kube-client",
    "kube-runtime",
    "reqwest",
    "rustls",
    "socket2",
    "tokio",
];

#[test]
fn the_core_crate_depends_on_no_runtime_and_no_client() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--package",
            "helm-guard-core",
        ])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains(&"helm-guard-core"), "{tree}");
    assert!(names.contains(&"serde_json"), "{tree}");
    let found: Vec<_> = names.iter().filter(|name| IO.contains(name)).collect();
    assert!(found.is_empty(), "helm-guard-core depends on {found:?}");
}
