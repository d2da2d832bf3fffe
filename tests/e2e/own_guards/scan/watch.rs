//! `scan --watch`: it prints what begins and what ends.

use std::{path::Path, time::Duration};

use testbed::{
    HelmVersion,
    process::{Process, ProcessConfig},
    shared,
};

use super::Unguarded;
use crate::scene::{Screen, eventually};

#[test]
fn watching_prints_what_begins_and_what_ends() {
    let unguarded = Unguarded::new("scan-watch", HelmVersion::V3);
    let scene = &unguarded.scene;
    let args = ["scan", "--watch=1s", "-n", scene.ns.name(), "--kubeconfig"];
    let mut args: Vec<_> = args.map(Into::into).to_vec();
    args.push(shared().admin().into());
    let mut watch = Process::start(ProcessConfig {
        name: "scan-watch",
        program: Path::new(env!("CARGO_BIN_EXE_helm-guard")),
        args,
        env: Vec::new(),
        dir: shared().scratch(),
    })
    .unwrap();
    let says = |watch: &Process, words: &str| {
        eventually(words, || watch.stdout().contains(words).then_some(()));
    };
    says(&watch, "1 in sync, 0 drifted.");
    scene.kubectl("scale deployment/myapp --replicas=7").quiet();
    says(
        &watch,
        &format!(
            " found {}/myapp Deployment/myapp Changed .spec.replicas (next upgrade: Reverted; by kubectl)\n",
            scene.ns.name()
        ),
    );
    scene.kubectl("scale deployment/myapp --replicas=3").quiet();
    says(&watch, &format!(" gone {}/myapp ", scene.ns.name()));
    assert_eq!(
        watch.stdout().matches(" found ").count(),
        1,
        "each change once"
    );
    watch.signal("INT");
    let status = watch.wait(Duration::from_secs(30)).expect("it ends");
    assert_eq!(status.code(), Some(0), "as the last scan: {}", watch.tail());
}
