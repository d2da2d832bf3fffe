//! **Foreign** and **Claimed**: declared objects and fields that belong to somebody else.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::unguarded::Unguarded;
use crate::{
    charts::{CONFIG_MAP, single},
    scene::Screen,
};

const OWNER: &str = "/metadata/annotations/meta.helm.sh~1release-name";

/// The releases with drift.
fn drifted(unguarded: &Unguarded) -> Vec<Value> {
    let report = unguarded.report();
    let releases = report["releases"].as_array().unwrap().iter();
    releases
        .filter(|release| release["state"] == "Drifted")
        .map(|release| release["name"].clone())
        .collect()
}

/// Each upgrade of one release takes the object from the other.
#[rstest]
fn an_object_that_another_release_took_is_foreign_to_the_first(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let chart = single(CONFIG_MAP);
    let unguarded = Unguarded::of("scan-taken", version, &chart);
    let scene = &unguarded.scene;
    let other = shared().chart(&chart);
    let install = format!("install other {} --take-ownership", other.display());
    scene.helm(&install).ok();
    let foreign = ["Foreign ConfigMap/settings by helm: Reverted"];
    assert_eq!(unguarded.found(), foreign);
    assert_eq!(drifted(&unguarded), ["myapp"]);

    unguarded.upgrade("").quiet();
    assert_eq!(scene.at("configmap/settings", OWNER), "myapp");
    assert_eq!(unguarded.found(), foreign);
    assert_eq!(drifted(&unguarded), ["other"]);

    // Helm 4 does not delete what belongs to another release.
    scene.helm("uninstall other").ok();
    let missing: &[&str] = match version {
        HelmVersion::V3 => &["Missing ConfigMap/settings: Recreated"],
        HelmVersion::V4 => &[],
    };
    unguarded.confirm(missing);
}

#[rstest]
fn an_object_that_helm_never_wrote_is_foreign(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-stranger", version);
    let scene = &unguarded.scene;
    scene.kubectl("delete configmap myapp").ok();
    scene
        .kubectl("create configmap myapp --from-literal=colour=red")
        .ok();
    let changed = unguarded.either("Reverted", "Blocks");
    unguarded.confirm(&[
        &*format!("Changed ConfigMap/myapp .data.colour by kubectl-create: {changed}"),
        "Foreign ConfigMap/myapp: Reverted",
        "Removed ConfigMap/myapp .data[\"limits.conf\"]: Reverted",
    ]);
    unguarded.repair();
}

/// Somebody who wrote the annotation owns it.
#[rstest]
fn an_object_that_was_given_to_another_release_by_hand_is_foreign(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-given", version);
    let name = "meta.helm.sh/release-name=other";
    unguarded
        .scene
        .kubectl(&format!("annotate service/myapp {name} --overwrite"))
        .ok();
    let consequence = unguarded.either("Reverted", "Blocks");
    unguarded.confirm(&[format!(
        "Foreign Service/myapp by kubectl-annotate: {consequence}"
    )]);
    unguarded.repair();
}

/// Scales the Deployment away from what is declared, and back.
fn scale_and_undo(unguarded: &Unguarded) {
    for replicas in [7, 3] {
        let line = format!("scale deployment/myapp --replicas={replicas}");
        unguarded.scene.kubectl(&line).quiet();
    }
}

#[test]
fn a_claimed_field_stops_the_upgrade_that_changes_it_and_no_other() {
    let unguarded = Unguarded::new("scan-claimed", HelmVersion::V4);
    let claimed = ["Claimed Deployment/myapp .spec.replicas by kubectl: Blocks"];
    scale_and_undo(&unguarded);
    unguarded.confirm(&claimed);

    let more = "--set replicas=4";
    let stopped = unguarded.upgrade(more).refused();
    assert!(stopped.says("conflict with \"kubectl\""), "{stopped:?}");
    // Now the newest revision declares 4, and the one before it is still followed.
    assert_eq!(unguarded.found(), claimed);
    let finding = unguarded.finding();
    assert_eq!(
        (&finding["declared"], &finding["live"]),
        (&json!(4), &json!(3))
    );

    unguarded
        .upgrade(&format!("{more} --force-conflicts"))
        .quiet();
    assert_eq!(unguarded.found(), [""; 0]);
}

#[test]
fn a_manager_that_gives_a_field_up_claims_it_no_more() {
    let unguarded = Unguarded::new("scan-given-up", HelmVersion::V4);
    scale_and_undo(&unguarded);
    let scene = &unguarded.scene;
    let entries =
        scene.get("deployment/myapp --show-managed-fields")["metadata"]["managedFields"].take();
    let mut entries = entries.as_array().unwrap().iter();
    let at = entries
        .position(|entry| entry["manager"] == "kubectl")
        .unwrap();
    let give_up = json!([{"op": "remove", "path": format!("/metadata/managedFields/{at}")}]);
    scene.patch("deployment/myapp", "json", &give_up).ok();
    assert_eq!(unguarded.found(), [""; 0]);
    unguarded.upgrade("--set replicas=4").quiet();
}

/// Helm 4 goes on as Helm 3 began.
#[rstest]
fn nobody_claims_a_field_of_a_release_that_is_applied_client_side(
    #[values(HelmVersion::V3, HelmVersion::V4)] upgraded_by: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-unclaimed", HelmVersion::V3);
    scale_and_undo(&unguarded);
    assert_eq!(unguarded.found(), [""; 0]);
    unguarded
        .upgrade_by(upgraded_by, "--set replicas=4")
        .quiet();
    assert_eq!(
        unguarded.scene.at("deployment/myapp", "/spec/replicas"),
        json!(4)
    );
    assert_eq!(unguarded.found(), [""; 0]);
}
