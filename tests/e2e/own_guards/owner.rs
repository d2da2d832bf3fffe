//! A registration that a ClusterRole owns, on a real API server with its garbage collector.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Guard, HelmVersion};

use super::caller::REGISTRATION;
use crate::{
    scene::{Scene, eventually, within},
    turn::Turn,
};

/// A ClusterRole that a test creates and deletes.
struct Role<'s> {
    scene: &'s Scene,
    name: String,
}

impl<'s> Role<'s> {
    fn create(scene: &'s Scene) -> Self {
        // A name that is not a valid label value.
        let name = format!("example.com:Guard:{}", scene.ns.name());
        let role = Self { scene, name };
        role.make();
        role
    }

    fn make(&self) {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": self.name}, "rules": [],
        });
        let create = self.scene.kubectl("create -f -");
        create.stdin(role.to_string()).ok();
    }

    fn delete(&self) {
        self.scene
            .kubectl("delete clusterrole")
            .arg(&self.name)
            .ok();
    }

    fn uid(&self) -> Value {
        let role = self.scene.kubectl("get clusterrole -o json");
        role.arg(&self.name).ok().json()["metadata"]["uid"].clone()
    }

    fn start(&self, turn: &Turn) -> Guard {
        turn.start(Turn::config("Audit").args(["--owner-cluster-role", &self.name]))
    }
}

fn registration(scene: &Scene) -> Option<Value> {
    let line = format!("get {REGISTRATION} -o json --ignore-not-found");
    serde_json::from_str(&scene.kubectl(&line).ok().stdout).ok()
}

fn owners(scene: &Scene) -> Value {
    let live = registration(scene).unwrap_or_default();
    live["metadata"]["ownerReferences"].clone()
}

#[test]
fn registration_is_removed_with_its_cluster_role_and_stays_away() {
    let turn = Turn::take();
    let scene = Scene::new("owner", HelmVersion::V4);
    let role = Role::create(&scene);
    let guard = role.start(&turn);
    assert_eq!(owners(&scene)[0]["uid"], role.uid());

    role.delete();
    let patience = Duration::from_secs(60);
    within(
        patience,
        "a registration that the garbage collector removed",
        || registration(&scene).is_none().then_some(()),
    );
    within(
        patience,
        "a guard that reports why nothing is registered",
        || {
            let readiness = guard.admin_get("/readyz").body;
            readiness
                .contains("nothing is registered without the ClusterRole")
                .then_some(())
        },
    );
    assert_eq!(registration(&scene), None);

    // An upgrade that replaces the ClusterRole instead of changing it.
    role.make();
    within(
        Duration::from_secs(120),
        "a registration of the new ClusterRole",
        || (owners(&scene)[0]["uid"] == role.uid()).then_some(()),
    );
    assert!(guard.stop().is_some_and(|status| status.success()));
    role.delete();
}

#[test]
fn removed_owner_is_restored_and_others_stay() {
    let turn = Turn::take();
    let scene = Scene::new("owners", HelmVersion::V3);
    let (role, other) = (
        Role::create(&scene),
        json!({
            "apiVersion": "v1", "kind": "Namespace", "name": scene.ns.name(), "uid":
                scene.at(&format!("namespace/{}", scene.ns.name()), "/metadata/uid"),
        }),
    );
    let guard = role.start(&turn);
    let edit = json!({"metadata": {"ownerReferences": [other]}});
    scene.patch(REGISTRATION, "merge", &edit).ok();
    eventually("both owners", || {
        let owners = owners(&scene);
        (owners[0]["kind"] == "Namespace" && owners[1]["uid"] == role.uid()).then_some(())
    });
    assert!(guard.stop().is_some_and(|status| status.success()));
    role.delete();
}
