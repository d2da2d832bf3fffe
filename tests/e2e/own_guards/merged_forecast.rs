//! The forecast of two replicas: each adds what it has seen to the counts of the other, and a killed one loses
//! nothing that it has written.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use futures_util::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Chart, Guard, HelmVersion, shared};
use tokio::runtime::Runtime;

use super::{
    caller::REGISTRATION,
    service::{Service, config_maps},
};
use crate::{
    charts::single,
    scene::{Scene, eventually, within},
    turn::Turn,
};

/// Editors that write at the same time, each to a ConfigMap of its own: a write that conflicts with another one
/// would be evaluated twice.
const EDITORS: usize = 16;

fn chart() -> Chart {
    single(
        "{{- range $number := until 16 }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: 'settings-{{ $number }}'}
data: {colour: blue}
{{- end }}
",
    )
}

/// All editors change the color, each in the name of a field manager that no other edit has.
fn edit(scene: &Scene, round: usize) {
    let color = json!({"data": {"colour": format!("red-{round}")}});
    Runtime::new().unwrap().block_on(async {
        let config_maps = config_maps(scene).await;
        let edits = (0..EDITORS).map(|editor| {
            let (config_maps, patch) = (&config_maps, Patch::Merge(&color));
            async move {
                let params = PatchParams {
                    field_manager: Some(format!("editor-{editor}-{round}")),
                    ..PatchParams::default()
                };
                let name = format!("settings-{editor}");
                config_maps.patch(&name, &params, &patch).await.unwrap();
            }
        });
        join_all(edits).await;
    });
}

/// The field managers of the violations that this replica has seen, by its audit lines.
fn seen(guard: &Guard) -> BTreeSet<String> {
    let lines = guard.log().into_iter();
    lines
        .filter(|line| line["target"] == "audit" && line["verdict"] == "audited")
        .map(|line| line["fieldManager"].as_str().unwrap().to_owned())
        .collect()
}

/// The requests that Deny would have denied: in all, and by field manager.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    all: u64,
    by_manager: BTreeMap<String, u64>,
}

impl Counted {
    /// Each of these managers has sent one request.
    fn once_each(managers: impl IntoIterator<Item = String>) -> Self {
        let by_manager: BTreeMap<_, _> = managers.into_iter().map(|manager| (manager, 1)).collect();
        Self {
            all: by_manager.len() as u64,
            by_manager,
        }
    }

    /// What `helm-guard policy forecast` says.
    fn forecast(scene: &Scene) -> Self {
        let ns = scene.ns.name();
        let output = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .args(["policy", "forecast", "-o", "json"])
            .args(["-n", ns, "--guard-namespace", ns, "--kubeconfig"])
            .arg(shared().admin())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let forecast: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = forecast["rows"].as_array().unwrap();
        let by_manager = rows.iter().map(|row| {
            let manager = row["manager"].as_str().unwrap();
            (manager.to_owned(), row["requests"].as_u64().unwrap())
        });
        Self {
            all: forecast["summary"]["requests"].as_u64().unwrap(),
            by_manager: by_manager.collect(),
        }
    }
}

/// Waits until the forecast has this; the replicas write once a minute.
fn await_forecast(scene: &Scene, expected: &Counted) {
    eventually(&format!("a forecast of {} requests", expected.all), || {
        (Counted::forecast(scene) == *expected).then_some(())
    });
}

#[test]
fn the_forecasts_of_two_replicas_add_up_and_outlive_a_killed_one() {
    let turn = Turn::take();
    let scene = Scene::new("merged-forecast", HelmVersion::V3);
    scene.install("settings", &chart());
    let service = Service::new(&scene, "Audit");
    let mut first = service.start(&turn, "first");
    let mut second = service.start(&turn, "second");
    let mut rounds = 0..;
    let minute = Duration::from_secs(60);
    within(minute, "violations that each replica has seen", || {
        edit(&scene, rounds.next().unwrap());
        (!seen(&first).is_empty() && !seen(&second).is_empty()).then_some(())
    });
    let (by_first, by_second) = (seen(&first), seen(&second));
    assert!(by_first.is_disjoint(&by_second), "each was asked once");
    let before = Counted::once_each(by_first.iter().chain(&by_second).cloned());
    await_forecast(&scene, &before);

    // Its endpoint stays until somebody notices, so the API server may lose calls.
    second.may_miss_calls();
    first.signal("KILL");
    let killed = first.stop().expect("it ends at once");
    assert_eq!(killed.code(), Some(128 + 9));
    within(minute, "violations that the other one sees alone", || {
        edit(&scene, rounds.next().unwrap());
        (seen(&second).len() > by_second.len()).then_some(())
    });
    let by_second = seen(&second);
    // It writes what it has counted when it exits.
    service.stop(second, "second");
    let after = Counted::once_each(by_first.into_iter().chain(by_second));
    assert_eq!(Counted::forecast(&scene), after);
    scene.kubectl(&format!("delete {REGISTRATION}")).ok();
}
