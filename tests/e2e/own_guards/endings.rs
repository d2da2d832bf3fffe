//! How a guard exits, and what that means for the cluster.

use std::{
    ffi::OsString,
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use testbed::{
    HelmVersion, free_addresses, http_get,
    process::{Process, ProcessConfig},
    shared,
};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually, within},
    turn::Turn,
};

const REGISTRATION: &str = "validatingwebhookconfiguration/helm-guard";

fn scene(stem: &str) -> Scene {
    let scene = Scene::new(stem, HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    scene
}

fn delete(scene: &Scene) -> testbed::Invocation {
    scene.kubectl("delete configmap settings --dry-run=server")
}

#[test]
fn a_stopped_guard_removes_its_registration_and_exits_cleanly() {
    let turn = Turn::take();
    let scene = scene("leave");
    let guard = turn.guard("Deny");
    assert!(scene.holds(REGISTRATION));
    delete(&scene).denied(&[]);
    let status = guard.stop().expect("it exits by itself");
    assert_eq!(status.code(), Some(0));
    assert!(!scene.holds(REGISTRATION));
    delete(&scene).quiet();
}

/// As in a rolling update: the registration stays for the next replica, and this one evaluates until the
/// API server has had time to notice.
#[test]
fn a_draining_guard_reports_it_and_still_evaluates() {
    let _turn = Turn::take();
    let scene = scene("drain");
    let [listen, admin] = free_addresses().unwrap();
    let url = format!("https://{listen}");
    let mut args: Vec<OsString> = ["serve", "--listen", &listen, "--admin-listen", &admin]
        .into_iter()
        .chain(["--register-url", &url, "--drain-delay", "10s"])
        .map(OsString::from)
        .collect();
    args.extend(["--kubeconfig".into(), shared().admin().into()]);
    let mut guard = Process::start(ProcessConfig {
        name: "draining-guard",
        program: Path::new(env!("CARGO_BIN_EXE_helm-guard")),
        args,
        env: Vec::new(),
        dir: shared().scratch(),
    })
    .unwrap();
    scene.settled("configmap/settings", 1);
    guard.signal("TERM");
    eventually("a guard that is not ready any more", || {
        let answer = http_get(&format!("http://{admin}/readyz")).ok()?;
        (answer.status == 503).then_some(())
    });
    delete(&scene).denied(&[]);
    let status = guard
        .wait(Duration::from_secs(60))
        .expect("it exits by itself");
    assert_eq!(status.code(), Some(0), "{}", guard.tail());
    scene.kubectl(&format!("delete {REGISTRATION}")).ok();
}

/// A missing guard does not harm the cluster.
#[test]
fn while_the_guard_is_down_writes_are_allowed_and_the_next_guard_resumes() {
    let turn = Turn::take();
    let scene = scene("down");
    let mut guard = turn.guard("Deny");
    delete(&scene).denied(&[]);
    guard.signal("KILL");
    let url = guard.admin_url("/livez");
    eventually("a guard that is gone", || http_get(&url).err().map(drop));
    assert!(scene.holds(REGISTRATION));
    let before = shared().failed_open();
    delete(&scene).quiet();
    // It is counted, so that no other test can miss a call unnoticed.
    assert!(shared().failed_open() > before);
    let chart = shared().chart(&single(&CONFIG_MAP.replace("blue", "green")));
    scene
        .helm(&format!("upgrade settings {}", chart.display()))
        .ok();
    drop(guard);
    let _next = turn.guard("Deny");
    delete(&scene).denied(&["(revision 2, "]);
}

/// Somebody deletes the registration, on purpose or by accident.
#[test]
fn a_removed_registration_is_restored_at_the_next_start() {
    let turn = Turn::take();
    let scene = scene("removed");
    let guard = turn.guard("Deny");
    drop(guard);
    scene
        .kubectl(&format!("delete {REGISTRATION} --ignore-not-found"))
        .ok();
    assert!(!scene.holds(REGISTRATION));
    // The API server notices a moment later.
    eventually("a request that nobody evaluates", || {
        delete(&scene).run().status.success().then_some(())
    });
    let guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    delete(&scene).denied(&[]);
    drop(guard);
}

/// A guard that runs looks at its registration every minute, and sooner if the watch reports it.
#[test]
fn a_removed_registration_is_restored_within_a_minute() {
    let turn = Turn::take();
    let scene = scene("removed-meanwhile");
    let guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    scene.kubectl(&format!("delete {REGISTRATION}")).ok();
    within(Duration::from_secs(75), "a restored registration", || {
        scene.holds(REGISTRATION).then_some(())
    });
    scene.settled("configmap/settings", 1);
    delete(&scene).denied(&[]);
    drop(guard);
}

#[test]
fn an_address_in_use_is_one_clear_line_and_exit_code_1() {
    let _turn = Turn::take();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args([
            "serve",
            "--listen",
            &address,
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .args(["--register-url", &format!("https://{address}")])
        .arg("--kubeconfig")
        .arg(shared().admin())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    let about: Vec<&&str> = lines
        .iter()
        .filter(|line| line.contains(&address) || line.to_lowercase().contains("error"))
        .collect();
    assert_eq!(about.len(), 1, "{stderr}");
    assert!(about[0].contains(&address), "{stderr}");
}

#[test]
fn a_silent_connection_delays_the_shutdown_by_its_handshake_at_most() {
    let turn = Turn::take();
    let guard = turn.guard("Deny");
    let told = Instant::now();
    assert_eq!(guard.stop().and_then(|status| status.code()), Some(0));
    let alone = told.elapsed();
    let guard = turn.guard("Deny");
    let silent = TcpStream::connect(guard.listen_addr()).unwrap();
    let told = Instant::now();
    assert_eq!(guard.stop().and_then(|status| status.code()), Some(0));
    let took = told.elapsed();
    // It may still be that of an API server. After five seconds it is closed, and after ten all would be.
    assert!(took < alone + Duration::from_secs(8), "{took:?}, {alone:?}");
    drop(silent);
}
