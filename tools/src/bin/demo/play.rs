//! `make up`: everything stays until Ctrl-C.

use std::{error::Error, fs, os::unix::fs::symlink, path::Path};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    screen::{Screen, say},
    shop::{NAMESPACE, Shop},
};

const THINGS_TO_TRY: [(&str, &str); 11] = [
    ("kubectl set image deployment/myapp myapp=nginx:9", "denied"),
    ("kubectl scale --replicas=0 deployment/myapp", "denied"),
    (
        "kubectl edit deployment/myapp",
        "depends on what you change",
    ),
    ("kubectl delete serviceaccount myapp", "denied"),
    ("kubectl annotate deployment/myapp team=checkout", "allowed"),
    ("kubectl rollout restart deployment/myapp", "allowed"),
    (
        "helm-guard break-glass open -n shop --ticket INC-1 --write-kubeconfig emergency.yaml",
        "a grant, and a token of the emergency account",
    ),
    (
        "kubectl --kubeconfig emergency.yaml -n shop scale --replicas=1 deployment/myapp",
        "allowed as break-glass, with a warning",
    ),
    (
        "helm upgrade myapp $CHART --set replicaCount=2 --force-conflicts",
        "allowed",
    ),
    (
        "helm-guard scan",
        "what differs from the release now, and who wrote it",
    ),
    ("helm uninstall myapp", "allowed"),
];

/// Installs the release, prints what to try, and waits.
pub fn until_interrupted(screen: Screen, shop: &Shop, binary: &Path) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // First, so that from here on a signal ends everything in order.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let install = "helm install myapp ./myapp --wait";
        let output = shop.invocation(&shop.alice, install).run();
        if !output.status.success() {
            return Err(output.stderr.into());
        }
        instructions(screen, shop, binary)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        say("stopping");
        Ok(())
    })
}

fn instructions(screen: Screen, shop: &Shop, binary: &Path) -> Result<(), Box<dyn Error>> {
    let bin = shop.plane.scratch().join("bin");
    fs::create_dir_all(&bin)?;
    let binaries = shop.plane.binaries();
    for (name, program) in [
        ("kubectl", binaries.kubectl.as_path()),
        ("helm", &binaries.helm4),
        ("helm3", &binaries.helm3),
        ("helm-guard", binary),
    ] {
        symlink(program, bin.join(name))?;
    }
    // A copy, so that commands need no namespace flag.
    let kubeconfig = shop.plane.scratch().join("kubeconfig");
    fs::copy(&shop.alice.kubeconfig, &kubeconfig)?;
    let set = "kubectl config set-context --current";
    let output = shop
        .invocation(&shop.alice, set)
        .env("KUBECONFIG", &kubeconfig)
        .run();
    if !output.status.success() {
        return Err(output.stderr.into());
    }
    screen.title("Running. In another terminal:");
    say(&format!("export KUBECONFIG={}", kubeconfig.display()));
    say(&format!("export PATH={}:$PATH", bin.display()));
    say(&format!("export CHART={}", shop.chart.display()));
    screen.title(&format!("Things to try, in namespace {NAMESPACE}:"));
    for (line, outcome) in THINGS_TO_TRY {
        say(&format!("{line}   # {outcome}"));
    }
    screen.title("What the guard says:");
    if let Some(guard) = &shop.guard {
        say(&format!("curl {}", guard.admin_url("/metrics")));
    }
    say(&format!(
        "tail -f {}/helm-guard-*.std*",
        shop.plane.scratch().display()
    ));
    screen.title("Ctrl-C ends everything.");
    Ok(())
}
