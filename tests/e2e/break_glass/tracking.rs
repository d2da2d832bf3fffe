//! Changes that the leader cannot find in a chart, or cannot look at.

use serde_json::json;
use testbed::charts::{single, widgets_crd};

use super::night::{Night, admin, people};
use crate::{
    deployed::BREAK_GLASS,
    scene::{Screen, established, eventually},
};

/// A record is in no chart: the change stays open until it is undone.
#[test]
fn a_change_of_a_release_record_is_open_until_it_is_undone() {
    let night = Night::new("of-a-record", &json!({}));
    let ns = night.ns();
    admin(&format!(
        "-n {ns} create role secrets --verb=get,patch,update --resource=secrets"
    ))
    .ok();
    admin(&format!(
        "-n {ns} create rolebinding secrets --role=secrets"
    ))
    .arg(format!("--serviceaccount={BREAK_GLASS}:emergency-ops"))
    .ok();
    let label = |label: &str| {
        let line = format!("label secret sh.helm.release.v1.myapp.v1 --overwrite {label}");
        night.scene.kubectl_as(&people().emergency, &line)
    };
    let state = |number: usize, state: &str| {
        eventually(&format!("change {number} that is {state}"), || {
            let mut changes = night.changes();
            changes.sort_by_key(|change| change["spec"]["at"].as_str().unwrap().to_owned());
            let change = changes.get(number)?;
            assert_eq!(change["spec"]["object"]["kind"], "Secret");
            (change["status"]["state"] == state).then_some(())
        });
    };
    label("status=superseded").warned(&["recorded as"]);
    state(0, "Open");
    label("status=deployed").run();
    state(0, "Reverted");
}

/// The guard has no right to read the object, which no admission can know.
#[test]
fn a_change_that_cannot_be_looked_at_becomes_overdue_and_says_so() {
    let night = Night::new("unseen", &json!({"reconcileWithin": "8s"}));
    let ns = night.ns();
    let group = format!("{ns}.example.com");
    admin("create -f -").stdin(widgets_crd(&group)).ok();
    established(&[&format!("widgets.{group}")]);
    let widget = format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\nspec: {{size: 2}}\n"
    );
    night.scene.install("unseen", &single(&widget));
    night.scene.settled(&format!("widgets.{group}/one"), 1);
    admin(&format!(
        "-n {ns} create role widgets --verb=get,patch --resource=widgets.{group}"
    ))
    .ok();
    admin(&format!(
        "-n {ns} create rolebinding widgets --role=widgets"
    ))
    .arg(format!("--serviceaccount={BREAK_GLASS}:emergency-ops"))
    .ok();
    night
        .scene
        .kubectl_as(
            &people().emergency,
            "patch widget one --type=merge -p {\"spec\":{\"size\":3}}",
        )
        .warned(&["recorded as one-"]);
    let overdue = night.comes_to("Overdue");
    let message = overdue["status"]["message"].as_str().unwrap();
    assert!(message.contains("the object cannot be read: "), "{message}");
    night.guard.await_log("why", |line| {
        line["message"] == "failed to read the object of an emergency change"
    });
    // With the right, it is looked at again.
    let line = format!("create clusterrole {ns}-widgets --verb=get --resource=widgets.{group}");
    admin(&line).ok();
    admin(&format!(
        "create clusterrolebinding {ns}-widgets --clusterrole={ns}-widgets"
    ))
    .arg("--serviceaccount=helm-guard:helm-guard")
    .ok();
    night
        .scene
        .kubectl("patch widget one --type=merge -p {\"spec\":{\"size\":2}}")
        .quiet();
    night.comes_to("Reverted");
}

/// The second change of the same field takes the first one's place.
#[test]
fn a_change_that_another_emergency_change_replaces_is_superseded() {
    let night = Night::new("superseded", &json!({}));
    night.raise("2Gi").warned(&["recorded as myapp-"]);
    night.comes_to("Open");
    night.raise("3Gi").warned(&["recorded as myapp-"]);
    let states = || {
        let mut changes = night.changes();
        changes.sort_by_key(|change| change["spec"]["at"].as_str().unwrap().to_owned());
        let states = changes
            .iter()
            .map(|change| change["status"]["state"].clone());
        states.collect::<Vec<_>>()
    };
    eventually("a superseded and an open change", || {
        (states() == ["Superseded", "Open"]).then_some(())
    });
    night
        .scene
        .kubectl("set resources deploy/myapp --limits memory=128Mi")
        .quiet();
    eventually("the second one reverted", || {
        (states() == ["Superseded", "Reverted"]).then_some(())
    });
}

/// Without its CRD, a release loses its custom resources.
#[test]
fn a_deleted_crd_is_open_until_it_is_back() {
    let night = Night::new("of-a-crd", &json!({}));
    let ns = night.ns();
    let group = format!("{ns}.example.com");
    let crd = format!("widgets.{group}");
    let create = || {
        admin("create -f -").stdin(widgets_crd(&group)).ok();
        established(&[&crd]);
    };
    create();
    let widget = format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\nspec: {{size: 2}}\n"
    );
    night.scene.install("of-a-crd", &single(&widget));
    night.scene.settled(&format!("widgets.{group}/one"), 1);
    let role = format!(
        "create clusterrole {ns}-crds --verb=get,delete --resource=crd --resource-name={crd}"
    );
    admin(&role).ok();
    let binding = format!("create clusterrolebinding {ns}-crds --clusterrole={ns}-crds");
    let account = format!("--serviceaccount={BREAK_GLASS}:emergency-ops");
    admin(&binding).arg(account).ok();
    let line = format!("delete crd {crd} --wait=false");
    night
        .scene
        .kubectl_as(&people().emergency, &line)
        .warned(&["recorded as"]);
    let open = night.comes_to("Open");
    assert_eq!(open["spec"]["object"]["kind"], "CustomResourceDefinition");
    let is_there = format!("get crd {crd} --ignore-not-found -o name");
    eventually("the end of the CRD", || {
        admin(&is_there).ok().stdout.is_empty().then_some(())
    });
    create();
    night.comes_to("Reverted");
}
