//! A registration applied by an administrator: `helm-guard registration`.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rcgen::KeyPair;
use serde_json::Value;
use testbed::{
    HelmVersion, free_addresses, http_get,
    process::{Process, ProcessConfig},
    shared,
};

use super::{
    caller::REGISTRATION,
    certificates::{Authority, authority, write_leaf_for},
};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

fn helm_guard() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_helm-guard"))
}

fn print(args: &[&str], dir: &Path) -> Output {
    Command::new(helm_guard())
        .arg("registration")
        .args(args)
        .current_dir(dir)
        .env("KUBECONFIG", shared().admin())
        .output()
        .unwrap()
}

fn printed(args: &[&str], dir: &Path) -> String {
    let output = print(args, dir);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with a certificate for loopback and a Service.
fn certificate(stem: &str) -> (PathBuf, Authority, KeyPair) {
    let dir = shared().scratch().join(stem);
    fs::create_dir_all(&dir).unwrap();
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    fs::write(dir.join("ca.crt"), authority.certificate.pem()).unwrap();
    write_leaf_for(
        &["127.0.0.1", "guard.ops.svc"],
        &dir,
        (&authority, &key),
        2040,
    );
    (dir, authority, key)
}

const FILES: [&str; 4] = ["--tls-cert", "tls.crt", "--tls-key", "tls.key"];

#[test]
fn an_unregistered_guard_answers_the_registration_printed_by_the_command() {
    let _turn = Turn::take();
    let scene = Scene::new("static", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let (dir, authority, key) = certificate("static-registration");
    let [listen, admin] = free_addresses().unwrap();
    let mut args: Vec<OsString> = ["serve", "--listen", &listen, "--admin-listen", &admin]
        .into_iter()
        .chain(["--mode", "Deny", "--drain-delay", "1ms", "--kubeconfig"])
        .map(OsString::from)
        .collect();
    args.push(shared().admin().into());
    for [flag, file] in [["--tls-cert", "tls.crt"], ["--tls-key", "tls.key"]] {
        args.extend([flag.into(), dir.join(file).into()]);
    }
    let guard = Process::start(ProcessConfig {
        name: "guard-that-registers-nothing",
        program: helm_guard(),
        args,
        env: Vec::new(),
        dir: shared().scratch(),
    })
    .unwrap();
    eventually("a guard that is ready", || {
        let answer = http_get(&format!("http://{admin}/readyz")).ok()?;
        (answer.status == 200).then_some(())
    });
    assert!(!scene.holds(REGISTRATION), "{}", guard.tail());

    let url = format!("https://{listen}");
    let manifest = printed(&[&["--url", &*url][..], &FILES].concat(), &dir);
    scene.kubectl("apply -f -").stdin(manifest.clone()).ok();
    scene.settled("configmap/settings", 1);
    let delete = || scene.kubectl("delete configmap settings --dry-run=server");
    delete().denied(&[]);

    // Renewing a certificate with the same key does not change the manifest.
    write_leaf_for(&["127.0.0.1"], &dir, (&authority, &key), 2041);
    let again = printed(&[&["--url", &*url][..], &FILES].concat(), &dir);
    assert_eq!(again, manifest);
    eventually("the new certificate", || {
        let metrics = http_get(&format!("http://{admin}/metrics")).ok()?.body;
        let mut lines = metrics.lines();
        let reloads = lines.find(|line| {
            line.starts_with("helm_guard_certificate_reloads_total") && line.contains("\"ok\"")
        })?;
        (!reloads.ends_with(" 1") && !reloads.ends_with(" 0")).then_some(())
    });
    delete().denied(&[]);
    scene.kubectl(&format!("delete {REGISTRATION}")).ok();
}

#[test]
fn the_certificate_is_also_read_from_the_secret_of_the_service() {
    // There is only one registration, also for a dry run.
    let _turn = Turn::take();
    let scene = Scene::new("printed", HelmVersion::V3);
    let namespace = scene.ns.name();
    let dir = shared().scratch().join("printed-registration");
    fs::create_dir_all(&dir).unwrap();
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    fs::write(dir.join("ca.crt"), authority.certificate.pem()).unwrap();
    let host = format!("guard.{namespace}.svc");
    write_leaf_for(&[&host], &dir, (&authority, &key), 2040);
    let service = format!("{namespace}/guard");
    let by_service = ["--service", &*service];

    let output = print(&by_service, &dir);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains(&format!("{namespace}/helm-guard-tls")),
        "{stderr}"
    );
    let mut create = scene.kubectl("create secret generic helm-guard-tls --type=kubernetes.io/tls");
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        create = create.arg(format!("--from-file={}", dir.join(file).display()));
    }
    create.ok();
    let from_files = printed(&[&by_service[..], &FILES].concat(), &dir);
    assert_eq!(printed(&by_service, &dir), from_files);
    let applied = scene
        .kubectl("apply --dry-run=server -o json -f -")
        .stdin(from_files)
        .ok()
        .json();
    let service = &applied["webhooks"][0]["clientConfig"]["service"];
    assert_eq!(
        service["namespace"],
        Value::from(namespace.to_owned()),
        "{applied}"
    );
}

#[test]
fn a_certificate_for_another_name_or_authority_is_rejected() {
    let (dir, ..) = certificate("another-name");
    let (others, ..) = certificate("another-authority");
    let ca = others.join("ca.crt");
    for args in [
        vec!["--url", "https://guard.example"],
        vec![
            "--url",
            "https://127.0.0.1:8443",
            "--ca",
            ca.to_str().unwrap(),
        ],
    ] {
        let output = print(&[&args[..], &FILES].concat(), &dir);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr.contains("failed to verify"), "{stderr}");
    }
    printed(&[&["--service", "ops/guard"][..], &FILES].concat(), &dir);
}
