//! Namespaces that fail closed, on a real API server: what is denied while no guard answers, and what is
//! not.

use std::{
    ffi::OsString,
    fs,
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;
use testbed::{
    GuardConfig, HelmVersion, Invocation, free_addresses, http_get,
    process::{Process, ProcessConfig},
    shared,
};

use super::certificates::{authority, write_leaf};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

const LABEL: &str = "team.example.com/closed=yes";

fn admin(line: &str) -> Invocation {
    let kubectl = shared().kubectl().cmd(shared().admin());
    kubectl.args(line.split_whitespace())
}

fn config() -> GuardConfig<'static> {
    Turn::config("Deny")
        .args(["--fail-closed-namespaces", LABEL])
        .args(["--guard-namespace", "closed-guard"])
}

/// A namespace with a release, optionally labeled.
fn scene(stem: &str, is_closed: bool) -> Scene {
    let scene = Scene::new(stem, HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    if is_closed {
        close(scene.ns.name());
    }
    scene
}

fn close(namespace: &str) {
    admin(&format!("label namespace {namespace} {LABEL} --overwrite")).ok();
}

/// Waits until the API server knows the registration.
fn until_denied(scene: &Scene, by: &str) {
    eventually("a denial by the right entry", || {
        let output = scene
            .kubectl("delete configmap/settings --dry-run=server")
            .run();
        output
            .says(&format!("{by}objects.helm-guard.dev\" denied"))
            .then_some(())
    });
}

fn helms(namespace: &str, name: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
        },
    })
    .to_string()
}

#[test]
fn without_a_replica_only_labeled_namespaces_deny_writes() {
    let turn = Turn::take();
    let (closed, open) = (scene("closed", true), scene("opened", false));
    let own = "closed-guard";
    admin(&format!("create namespace {own}")).ok();
    for namespace in [own, "kube-system"] {
        close(namespace);
        admin("apply -f -")
            .stdin(helms(namespace, "of-the-guard"))
            .ok();
    }
    let mut guard = turn.start(config());
    until_denied(&closed, "fail-closed.");
    until_denied(&open, "");
    // A change without a violation is allowed, and evaluated once.
    closed.kubectl("annotate configmap/settings note=a").quiet();

    guard.signal("KILL");
    let refused = |line: &str| {
        let output = closed.kubectl(line).refused();
        assert!(output.says("fail-closed."), "{}", output.stderr);
        assert!(output.says("failed calling webhook"), "{}", output.stderr);
    };
    refused("annotate configmap/settings note=b --overwrite");
    refused("delete configmap/settings");
    refused("delete secret/sh.helm.release.v1.settings.v1");
    // Undeclared objects, and requests that are never evaluated, do not wait for the guard.
    closed.kubectl("create configmap other").ok();
    closed.kubectl("label configmap other a=b").ok();
    closed.kubectl("delete configmap other").ok();
    closed.kubectl("run bare --image=nginx:1").ok();
    closed
        .kubectl("wait --for=condition=Ready pod/bare --timeout=60s")
        .ok();
    open.kubectl("annotate configmap/settings note=b --overwrite")
        .ok();
    open.kubectl("delete configmap/settings").ok();

    // Neither the guard's own namespace nor the namespaces that a cluster needs to restart.
    for namespace in [own, "kube-system"] {
        admin(&format!(
            "annotate -n {namespace} configmap of-the-guard note=b"
        ))
        .ok();
        admin(&format!("delete -n {namespace} configmap of-the-guard")).ok();
    }
    admin("apply -f -").stdin(node()).ok();
    admin("wait --for=condition=Ready node/late --timeout=60s").ok();
    eventually("a lease of the new node", || {
        let lease = admin("get lease late -n kube-node-lease -o name --ignore-not-found").ok();
        lease.stdout.contains("late").then_some(())
    });
    admin("annotate node late note=b").ok();
    admin("delete node late").ok();
    admin("label namespace kube-system team.example.com/closed-").ok();
    admin(&format!("delete namespace {own}")).ok();

    // The escape: the Namespace object itself never fails closed.
    admin(&format!(
        "label namespace {} team.example.com/closed-",
        closed.ns.name()
    ))
    .ok();
    eventually("a namespace that is open again", || {
        let output = closed
            .kubectl("annotate configmap/settings note=c --overwrite")
            .run();
        output.status.success().then_some(())
    });
    drop(guard);
    // A guard that exits cleanly removes its registration; this one was killed.
    admin("delete validatingwebhookconfiguration helm-guard").ok();
}

/// A Node with Helm's marks: cluster-scoped, so it never fails closed.
fn node() -> String {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": "late",
            "labels": {"app.kubernetes.io/managed-by": "Helm", "type": "kwok"},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
    })
    .to_string()
}

#[test]
fn indeterminate_requests_are_denied_only_in_labeled_namespaces() {
    let turn = Turn::take();
    let (closed, open) = (scene("doubtful", true), scene("doubted", false));
    let guard = turn.start(config());
    until_denied(&closed, "fail-closed.");
    until_denied(&open, "");
    for scene in [&closed, &open] {
        scene.rewrite_record("settings", 1, |body| body["manifest"] = "{".into());
        eventually("a record that cannot be read", || {
            let output = scene
                .kubectl("delete configmap/settings --dry-run=server")
                .run();
            output.says("record-unreadable").then_some(())
        });
    }
    open.kubectl("delete configmap/settings")
        .warned(&["record-unreadable"]);
    let output = closed.kubectl("delete configmap/settings").refused();
    for word in [
        "fail-closed.objects.helm-guard.dev",
        "record-unreadable",
        "fails closed",
    ] {
        assert!(output.says(word), "{word}: {}", output.stderr);
    }
    let counted = r#"verdict="fail-closed",reason="record-unreadable"}"#;
    assert!(guard.admin_get("/metrics").body.contains(counted));
    // The API server counts it, too, as a failed call that was denied.
    let metrics = admin("get --raw /metrics").ok().stdout;
    let rejected = metrics.lines().any(|line| {
        line.starts_with("apiserver_admission_webhook_rejection_count")
            && line.contains("fail-closed.objects.helm-guard.dev")
            && line.contains(r#"error_type="calling_webhook_error""#)
    });
    assert!(rejected);
}

/// Replicas behind one address, as behind a Service: new connections go to the newest one, existing ones
/// stay.
#[derive(Clone)]
struct Service {
    address: String,
    backend: Arc<Mutex<String>>,
}

impl Service {
    fn start(backend: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Self {
            address: listener.local_addr().unwrap().to_string(),
            backend: Arc::new(Mutex::new(backend.to_owned())),
        };
        let backend = Arc::clone(&service.backend);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let address = backend.lock().unwrap().clone();
                // Nothing listens there: the caller sees a closed connection.
                if let Ok(server) = TcpStream::connect(address) {
                    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                    thread::spawn(move || forward((client, server)));
                    thread::spawn(move || forward(back));
                }
            }
        });
        service
    }

    fn send_to(&self, backend: &str) {
        backend.clone_into(&mut self.backend.lock().unwrap());
    }
}

fn forward((mut from, mut to): (TcpStream, TcpStream)) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Starts a replica and waits until it is ready.
fn replica(name: &str, [listen, admin]: &[String; 2], service: &Service, tls: &Path) -> Process {
    let url = format!("https://{}", service.address);
    let mut args: Vec<OsString> = ["serve", "--listen", listen, "--admin-listen", admin]
        .into_iter()
        .chain(["--register-url", &url, "--drain-delay", "2s"])
        .chain(["--fail-closed-namespaces", LABEL])
        .map(OsString::from)
        .collect();
    args.extend(["--tls-cert".into(), tls.join("tls.crt").into()]);
    args.extend(["--tls-key".into(), tls.join("tls.key").into()]);
    args.extend(["--kubeconfig".into(), shared().admin().into()]);
    let replica = Process::start(ProcessConfig {
        name,
        program: Path::new(env!("CARGO_BIN_EXE_helm-guard")),
        args,
        env: Vec::new(),
        dir: shared().scratch(),
    })
    .unwrap();
    eventually("a ready replica", || {
        let answer = http_get(&format!("http://{admin}/readyz")).ok()?;
        (answer.status == 200).then_some(())
    });
    replica
}

#[test]
fn a_rolling_upgrade_denies_no_legitimate_write_and_evaluates_every_one() {
    let _turn = Turn::take();
    let closed = scene("rolling", true);
    let tls = shared().scratch().join("rolling");
    fs::create_dir_all(&tls).unwrap();
    let authority = authority();
    write_leaf(&tls, &authority, 2050);
    fs::write(tls.join("ca.crt"), authority.certificate.pem()).unwrap();
    let addresses = [free_addresses().unwrap(), free_addresses().unwrap()];
    let service = Service::start(&addresses[0][0]);
    let mut old = replica("rolling-old", &addresses[0], &service, &tls);
    until_denied(&closed, "fail-closed.");

    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let writes = thread::scope(|threads| {
        let writing = threads.spawn(|| {
            let mut writes = 0;
            // Some more after the end, which only the new replica can answer.
            let mut left = 3;
            while left > 0 {
                left -= u32::from(over.load(Ordering::Acquire));
                writes += 1;
                let write = format!("annotate configmap/settings note={writes} --overwrite");
                closed.kubectl(&write).quiet();
                let delete = "delete configmap/settings --dry-run=server";
                closed.kubectl(delete).denied(&[]);
            }
            writes
        });
        let new = replica("rolling-new", &addresses[1], &service, &tls);
        service.send_to(&addresses[1][0]);
        old.signal("TERM");
        let status = old
            .wait(Duration::from_secs(60))
            .expect("it exits by itself");
        assert_eq!(status.code(), Some(0), "{}", old.tail());
        is_over.store(true, Ordering::Release);
        let writes = writing.join().unwrap();
        drop(new);
        writes
    });
    assert!(writes > 3, "{writes}");
    admin("delete validatingwebhookconfiguration helm-guard").ok();
}
