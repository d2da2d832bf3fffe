//! Hooks that change objects of their own chart, with the ServiceAccount of their Job.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::steps::{release, settings, status};
use crate::{
    scene::{Scene, Screen, Verdict, eventually, verdict},
    world::world,
};

/// The account, its rights, and a migration that runs before each upgrade: it recreates `settings`.
const MIGRATION: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: migrate}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: migrate}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: migrate}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: migrate}
subjects:
  - {kind: ServiceAccount, name: migrate, namespace: '{{ .Release.Namespace }}'}
  - {kind: ServiceAccount, name: other, namespace: '{{ .Release.Namespace }}'}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: hook-succeeded}
spec:
  template:
    spec:
      restartPolicy: Never
      serviceAccountName: migrate
      tolerations: [{key: dedicated, operator: Exists}]
      nodeSelector: {'hold-{{ .Release.Namespace }}': over}
      containers: [{name: migrate, image: migrate}]
";

/// The Job is real, and its Pod waits for a node; the test acts with a token of its account instead.
#[rstest]
fn only_a_pre_upgrade_migration_may_replace_objects_of_its_chart(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("migration", version);
    let ns = scene.ns.name();
    let chart = settings().template("migration.yaml", MIGRATION);
    let chart = scene.install("settings", &chart);
    let account = |name: &str| shared().service_account(ns, name).unwrap();
    let (migrate, other) = (account("migrate"), account("other"));
    let delete = "delete configmap settings";
    let paint = |colour: &str| json!({"data": {"colour": colour}}).to_string();
    let painted = |who, colour: &str| {
        scene
            .kubectl_as(who, "patch configmap settings --type=merge -p")
            .arg(paint(colour))
    };
    scene.settled("configmap/settings", 1);
    scene.kubectl_as(&migrate, delete).denied(&[]);
    painted(&migrate, "red").denied(&[".data.colour"]);

    let upgrade = format!(
        "upgrade settings {} --set colour=green --timeout=180s",
        chart.display()
    );
    let mut helm = scene.helm(&upgrade).spawn();
    eventually("the Job of the hook", || {
        scene.holds("job/migrate").then_some(())
    });
    assert_eq!(status(&scene, "settings", 2), "pending-upgrade");
    let needs = format!("subjects.serviceAccounts: [{ns}/other]");
    scene.kubectl_as(&other, delete).denied(&[&needs]);
    let output = painted(&other, "red").denied(&[&needs]);
    assert!(!output.says("consequences"), "{}", output.stderr);
    painted(&migrate, "red").quiet();
    scene.kubectl_as(&migrate, delete).quiet();
    let user = format!("system:serviceaccount:{ns}:migrate");
    let object = ("configmaps", ns, "settings");
    eventually("a deletion that passed in flight", || {
        (verdict(&user, "delete", object) == Verdict::allowed("in-flight")).then_some(())
    });

    release(&scene);
    assert!(helm.wait().unwrap().success());
    assert_eq!(status(&scene, "settings", 2), "deployed");
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "green");
    assert!(!scene.holds("job/migrate"));
    scene.settled("configmap/settings", 2);
    scene.kubectl_as(&migrate, delete).denied(&[]);
    assert_eq!(
        scene.at("configmap/settings", "/metadata/deletionTimestamp"),
        Value::Null
    );
}
