//! Connections to the API server that die silently.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use testbed::{Guard, HelmVersion, shared};

use super::proxy::Proxy;
use crate::{
    charts::myapp,
    scene::{Scene, Screen},
    turn::Turn,
};

/// The administrator's kubeconfig, through the proxy.
fn through(proxy: &Proxy) -> PathBuf {
    let admin = fs::read(shared().admin()).unwrap();
    let mut config: Value = serde_json::from_slice(&admin).unwrap();
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", proxy.address()));
    let path = shared().scratch().join("dead-connections.kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    path
}

fn read_through_errors(guard: &Guard) -> bool {
    let metrics = guard.admin_get("/metrics").body;
    !metrics.contains(r#"helm_guard_read_throughs_total{result="error"} 0"#)
}

#[test]
fn a_violation_is_denied_even_if_every_pooled_connection_is_dead() {
    let turn = Turn::take();
    let scene = Scene::new("dead-connections", HelmVersion::V4);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let proxy = Proxy::start(shared().server().trim_start_matches("https://"));
    let kubeconfig = through(&proxy);
    let mut config = Turn::config("Deny");
    config.kubeconfig = &kubeconfig;
    let guard = turn.start(config);
    scene.settled("configmap/myapp", 1);
    let paint = |colour: &str| {
        let patch = json!({"data": {"colour": colour}});
        scene.patch("configmap/myapp", "merge", &patch)
    };

    assert!(proxy.hang() > 0, "the pool should hold a connection");
    paint("red").denied(&["blue"]);
    // The watch is dead, too: the guard learns of this revision by a read-through only.
    proxy.hang();
    let upgrade = format!("upgrade myapp {} --set colour=green", chart.display());
    scene.helm(&upgrade).quiet();
    proxy.hang();
    paint("red").denied(&["green", "revision 2"]);
    assert!(!read_through_errors(&guard), "nothing went unread");
}
