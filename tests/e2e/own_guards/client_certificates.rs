//! Mutual TLS: the certificate that an API server presents to webhooks.

use std::{fs, path::PathBuf};

use testbed::{Guard, GuardConfig, HelmVersion, WEBHOOK_CLIENT, http_get, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

fn ca_file() -> PathBuf {
    let path = shared().scratch().join("clients.crt");
    fs::write(&path, shared().authority()).unwrap();
    path
}

fn config(subject: &str) -> GuardConfig<'static> {
    let file = ca_file();
    let args = ["--client-ca-file".as_ref(), file.as_os_str()];
    Turn::config("Deny")
        .args(args)
        .args(["--client-subject", subject])
}

fn handshake_failures(guard: &Guard) -> u64 {
    let metrics = guard.admin_get("/metrics").body;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("helm_guard_handshake_failures_total "));
    value.unwrap().parse().unwrap()
}

#[test]
fn with_a_client_ca_only_the_api_server_is_answered() {
    let turn = Turn::take();
    let scene = Scene::new("mutual-tls", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let delete = || scene.kubectl("delete configmap settings --dry-run=server");

    let guard = turn.start(config(WEBHOOK_CLIENT));
    delete().denied(&[]);
    assert_eq!(handshake_failures(&guard), 0);
    guard.stop().expect("the guard ends by itself");

    // The same call from a client with another name.
    // Its guard answers no call from the start, also none that a controller causes.
    let guard = Guard::spawn(shared(), config("somebody-else")).unwrap();
    eventually("a ready guard", || {
        let readiness = http_get(&guard.admin_url("/readyz")).ok()?;
        (readiness.status == 200).then_some(())
    });
    delete().ok();
    assert!(handshake_failures(&guard) > 0);
}

#[test]
fn an_unusable_client_ca_is_one_clear_line_at_startup() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(["serve", "--register-url", "https://127.0.0.1:1"])
        .args(["--client-ca-file", "no-such-file.crt"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "error: failed to use the CAs of clients in no-such-file.crt: No such file or directory \
         (os error 2)\n"
    );
}
