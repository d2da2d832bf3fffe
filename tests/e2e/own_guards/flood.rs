//! A client without a registered path that tries to keep the guard busy.

use std::{
    collections::VecDeque,
    io::Write,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
    time::Duration,
};

use serde_json::json;
use testbed::HelmVersion;

use super::{caller::Caller, secret_paths::forged};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, within},
    turn::Turn,
};

/// Connections that the client opens, one after the other.
const CONNECTIONS: usize = 5000;

/// Connections held open: more than the guard allows one address, fewer than a process may have open
/// files.
const HELD: usize = 600;

/// Threads that open them.
const HOLDERS: usize = 2;

const PATHS: [&str; 3] = ["/validate", "/grants", "/policies"];

/// A flood that ends when this value is dropped, even if the test fails.
struct Flood<'f>(&'f AtomicBool);

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// The API server's counters of its calls to the guard.
pub fn counted(scene: &Scene, metric: &str) -> f64 {
    let metrics = scene.kubectl("get --raw /metrics").ok().stdout;
    let start = format!("apiserver_admission_webhook_{metric}{{");
    metrics
        .lines()
        .filter(|line| line.starts_with(&start))
        .filter(|line| line.contains("helm-guard.dev"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

#[test]
fn a_flood_from_one_client_does_not_block_the_api_server() {
    let turn = Turn::take();
    let scene = Scene::new("flood", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let caller = Caller::new(&guard, &scene);
    let before = counted(&scene, "fail_open_count");

    let (ended, opened, answered) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let review = forged(scene.ns.name(), "red").to_string();
    thread::scope(|threads| {
        let _flood = Flood(&ended);
        for _ in 0..HOLDERS {
            threads.spawn(|| {
                let mut held = VecDeque::new();
                while !ended.load(SeqCst) {
                    // A request that is never completed.
                    if let Ok(connection) = caller.announce("/x", "", 1) {
                        held.push_back(connection);
                        opened.fetch_add(1, SeqCst);
                    }
                    if held.len() > HELD / HOLDERS {
                        held.pop_front();
                    }
                }
            });
        }
        threads.spawn(|| {
            while !ended.load(SeqCst) {
                let mut halves: Vec<_> = (0..40)
                    .filter_map(|_| caller.announce("/validate", "", 8 << 20).ok())
                    .collect();
                for half in &mut halves {
                    // The guard may have answered and closed it.
                    let _ = half.write_all(" ".repeat(64 << 10).as_bytes());
                }
            }
        });
        threads.spawn(|| {
            for path in PATHS.iter().cycle() {
                if ended.load(SeqCst) {
                    return;
                }
                let answer = caller.post(path, &review).unwrap_or_default();
                if answer.starts_with("HTTP/1.1 200") {
                    answered.fetch_add(1, SeqCst);
                }
            }
        });
        let mut writes = 0;
        within(Duration::from_secs(300), "a flood", || {
            let red = json!({"data": {"colour": "red"}});
            scene
                .patch("configmap/settings", "merge", &red)
                .denied(&[".data.colour"]);
            let extra = json!({"data": {"extra": writes.to_string()}});
            scene.patch("configmap/settings", "merge", &extra).quiet();
            writes += 1;
            (writes >= 20 && opened.load(SeqCst) >= CONNECTIONS).then_some(())
        });
        eprintln!("{writes} denied during {} connections", opened.load(SeqCst));
    });
    assert_eq!(answered.load(SeqCst), 0, "forged reviews are not answered");
    assert!((counted(&scene, "fail_open_count") - before).abs() < 0.5);
    // The calls are counted under the same names: a sum without series would prove nothing.
    assert!(counted(&scene, "request_total") > 0.5);
    let metrics = guard.admin_get("/metrics").body;
    let refused = r#"helm_guard_rejected_envelopes_total{kind="unknown-path"}"#;
    assert!(metrics.contains(refused), "{metrics}");
    assert_eq!(guard.admin_get("/readyz").status, 200);
}
