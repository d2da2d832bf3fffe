//! Two installations of the guard in one cluster: one is registered, and the other one waits.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Guard, GuardConfig, HelmVersion, http_get, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually, within},
    turn::Turn,
};

const REGISTRATION: &str = "validatingwebhookconfiguration/helm-guard";

/// A guard of the installation in this namespace.
fn of(installation: &Scene) -> GuardConfig<'static> {
    Turn::config("Deny").args(["--guard-namespace", installation.ns.name()])
}

fn registered_by(scene: &Scene) -> Value {
    let annotation = "/metadata/annotations/helm-guard.dev~1installation";
    scene.at(REGISTRATION, annotation)
}

fn identity(installation: &Scene) -> String {
    format!("{}/helm-guard", installation.ns.name())
}

/// `status` is 503 for a guard that was never registered. One that was stays ready: a replica that the API
/// server may still call must not leave its Service.
fn waits_for(guard: &Guard, other: &Scene, status: u16) {
    let reason = format!(
        "the installation {} is registered and runs",
        identity(other)
    );
    within(
        Duration::from_secs(30),
        "a guard that waits for another installation",
        || {
            // It may not be listening yet.
            let readiness = http_get(&guard.admin_url("/readyz")).ok()?;
            (readiness.status == status && readiness.body.contains(&reason)).then_some(())
        },
    );
}

fn denies(scene: &Scene) {
    let red = json!({"data": {"colour": "red"}});
    let output = scene.patch("configmap/settings", "merge", &red);
    output.denied(&[".data.colour"]);
}

#[test]
fn a_second_installation_waits_until_the_first_one_is_gone() {
    let turn = Turn::take();
    let (first, second) = (
        Scene::new("first", HelmVersion::V4),
        Scene::new("second", HelmVersion::V4),
    );
    first.install("settings", &single(CONFIG_MAP));
    let registered = turn.start(of(&first));
    first.settled("configmap/settings", 1);
    assert_eq!(registered_by(&first), identity(&first));

    let mut waiting = Guard::spawn(shared(), of(&second)).unwrap();
    waits_for(&waiting, &first, 503);
    denies(&first);
    let writes = |guard: &Guard| {
        let line = |line: &&Value| line["message"] == "corrected the webhook registration";
        guard.log().iter().filter(line).count()
    };
    assert_eq!([writes(&registered), writes(&waiting)], [0, 0]);

    assert!(registered.stop().is_some_and(|status| status.success()));
    waiting.await_ready().unwrap();
    assert_eq!(registered_by(&first), identity(&second));
    denies(&first);
}

#[test]
fn an_installation_takes_over_only_with_the_flag_and_the_other_one_reports_it() {
    let turn = Turn::take();
    let (first, second) = (
        Scene::new("replaced", HelmVersion::V3),
        Scene::new("replacing", HelmVersion::V3),
    );
    first.install("settings", &single(CONFIG_MAP));
    let replaced = turn.start(of(&first).args(["--take-over"]));
    first.settled("configmap/settings", 1);
    let replacing = turn.start(of(&second).args(["--take-over"]));
    // Once each: the flag of the first one is used up.
    waits_for(&replaced, &second, 200);
    assert_eq!(registered_by(&first), identity(&second));
    let reported = format!("taken over by the installation {}", identity(&second));
    within(Duration::from_secs(60), "a reported takeover", || {
        let is_it = |line: &Value| line.to_string().contains(&reported);
        replaced.log().iter().any(is_it).then_some(())
    });
    denies(&first);

    // A registration is not removed by an installation that does not own it.
    assert!(replaced.stop().is_some_and(|status| status.success()));
    assert_eq!(registered_by(&first), identity(&second));
    assert!(replacing.stop().is_some_and(|status| status.success()));
    eventually("no registration", || {
        let line = format!("get {REGISTRATION} --ignore-not-found");
        first.kubectl(&line).ok().stdout.is_empty().then_some(())
    });
}
