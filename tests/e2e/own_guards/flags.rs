//! Flags of `serve` whose effect only a real process shows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use testbed::{Guard, GuardConfig, HelmVersion, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{BOB, Scene, Screen, verdict},
    turn::Turn,
};

fn scene(stem: &str) -> Scene {
    let scene = Scene::new(stem, HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    scene
}

fn delete(scene: &Scene) -> testbed::Invocation {
    scene.kubectl("delete configmap settings")
}

#[test]
fn only_releases_of_watched_namespaces_are_guarded() {
    let turn = Turn::take();
    let [one, two, other] = ["watched-one", "watched-two", "unwatched"].map(scene);
    let namespaces = [&one, &two].map(|scene| ["--watch-namespace", scene.ns.name()]);
    let guard = turn.start(Turn::config("Deny").args(namespaces.concat()));
    for scene in [&one, &two] {
        scene.settled("configmap/settings", 1);
        delete(scene).denied(&["is declared by Helm release \"settings\""]);
    }
    other.kubectl("delete configmap settings").quiet();
    // It was asked, and knows of no release.
    let found = verdict(BOB, "delete", ("configmaps", other.ns.name(), "settings"));
    assert_eq!(found.decision, "allowed", "{found:?}");
    let metrics = guard.admin_get("/metrics").body;
    let releases = metrics
        .lines()
        .filter(|line| line.starts_with("helm_release_info{"));
    assert_eq!(releases.count(), 2, "{metrics}");
}

/// The names of the threads of the guard and its watchdog.
fn threads(guard: &Guard) -> Vec<String> {
    let tasks = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let pids = guard.pids();
    let names = pids.iter().flat_map(tasks).map(|task| {
        let name = fs::read_to_string(task.unwrap().path().join("comm"));
        name.unwrap().trim().to_owned()
    });
    names.collect()
}

#[test]
fn worker_threads_are_as_many_as_the_flag_says() {
    let turn = Turn::take();
    let count = |threads: &str| {
        let guard = turn.start(Turn::config("Deny").args(["--worker-threads", threads]));
        self::threads(&guard).len()
    };
    // Others are as many in both, but for those that block for a moment.
    let (few, many) = (count("2"), count("40"));
    assert!(many >= few + 30, "{few} and {many}");
}

/// The administrator's kubeconfig with a second context, of a server that does not answer, as the current one.
fn two_contexts(name: &str) -> PathBuf {
    let file = shared().scratch().join(name);
    fs::copy(shared().admin(), &file).unwrap();
    let config = |line: &str| {
        let kubectl = shared().kubectl().cmd(&file);
        kubectl.args(["config"]).args(line.split_whitespace()).ok()
    };
    let good = config("current-context").stdout.trim().to_owned();
    config("set-cluster dead --server=https://127.0.0.1:1");
    config(&format!("rename-context {good} good"));
    config("set-context dead --cluster=dead --user=nobody");
    config("use-context dead");
    file
}

#[test]
fn the_context_chooses_the_cluster() {
    let turn = Turn::take();
    let scene = scene("context");
    let kubeconfig = two_contexts("two-contexts.yaml");
    let binary = Path::new(env!("CARGO_BIN_EXE_helm-guard"));
    let config = GuardConfig::new(binary, &kubeconfig, "Deny").args(["--drain-delay", "200ms"]);
    let guard = turn.start(config.args(["--context", "good"]));
    scene.settled("configmap/settings", 1);
    delete(&scene).denied(&[]);
    drop(guard);
}

#[test]
fn the_log_level_chooses_which_lines_are_written() {
    let turn = Turn::take();
    let levels = |level: &str| {
        let guard = turn.start(Turn::config("Deny").args(["--log-level", level]));
        let lines = guard.log();
        let of_guard = lines.iter().filter(|line| line["target"] != "audit");
        let levels = of_guard.map(|line| line["level"].as_str().unwrap_or_default().to_owned());
        levels.collect::<std::collections::BTreeSet<String>>()
    };
    assert!(levels("info").contains("INFO"));
    assert!(!levels("info").contains("DEBUG"));
    assert!(levels("debug").contains("DEBUG"));
    let errors = levels("error");
    assert!(
        !errors.contains("INFO") && !errors.contains("WARN"),
        "{errors:?}"
    );
    // A filter raises one module above the rest.
    let filtered = levels("error,helm_guard=debug");
    assert!(filtered.contains("DEBUG"), "{filtered:?}");
}

/// Without support for proxies, a proxy in the environment would be an error for every command.
#[test]
fn a_proxy_of_the_environment_is_used_unless_no_proxy_names_the_server() {
    let _turn = Turn::take();
    let list = |exceptions: &str| {
        Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .args(["policy", "check", "--kubeconfig"])
            .arg(shared().admin())
            .env("HTTPS_PROXY", "http://127.0.0.2:1")
            .env("NO_PROXY", exceptions)
            .output()
            .unwrap()
    };
    let through_proxy = list("example.com");
    let error = String::from_utf8_lossy(&through_proxy.stderr).into_owned();
    assert!(error.contains("failed to get the GuardPolicy"), "{error}");
    assert!(error.to_lowercase().contains("connect"), "{error}");
    let direct = list("127.0.0.1");
    let error = String::from_utf8_lossy(&direct.stderr).into_owned();
    assert!(error.contains("there is no GuardPolicy default"), "{error}");
}
