//! The marks of ownership, and two releases that claim one object.

use rstest::rstest;
use serde_json::json;
use testbed::{ALICE, HelmVersion, Invocation, shared};

use super::slip::force_conflicts;
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, Verdict, eventually, verdict},
    world::{log_about, world},
};

const HELM: [HelmVersion; 2] = HelmVersion::ALL;

/// Scenario 49.
#[test]
fn the_marks_of_ownership_can_neither_be_removed_nor_changed() {
    world();
    let scene = Scene::new("marks", HELM[1]);
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    // Removing the last label removes the labels field, which the message then names.
    scene
        .kubectl("label configmap settings team=checkout")
        .quiet();
    for (line, field) in [
        (
            "label configmap settings app.kubernetes.io/managed-by-",
            ".metadata.labels[\"app.kubernetes.io/managed-by\"]",
        ),
        (
            "label configmap settings app.kubernetes.io/managed-by=me --overwrite",
            ".metadata.labels[\"app.kubernetes.io/managed-by\"]",
        ),
        (
            "annotate configmap settings meta.helm.sh/release-name-",
            ".metadata.annotations[\"meta.helm.sh/release-name\"]",
        ),
        (
            "annotate configmap settings meta.helm.sh/release-namespace=other --overwrite",
            ".metadata.annotations[\"meta.helm.sh/release-namespace\"]",
        ),
    ] {
        scene.kubectl(line).denied(&[field]);
    }
}

/// Scenario 49, last part.
#[test]
fn a_newly_labeled_object_is_evaluated_and_may_change() {
    world();
    let scene = Scene::new("marked", HELM[1]);
    scene.kubectl("create configmap foreign").ok();
    scene
        .kubectl("label configmap foreign app.kubernetes.io/managed-by=Helm")
        .quiet();
    assert_eq!(
        scene.verdict("patch", "configmaps", "foreign"),
        Verdict::allowed("not-declared")
    );
}

/// Scenario 31: either mark is enough. Only removing both hides an object, and that step is denied,
/// too.
#[test]
fn an_object_is_guarded_until_both_marks_are_removed() {
    world();
    let scene = Scene::new("unmarked", HELM[0]);
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    scene.drift("configmap/settings", "merge", &label);
    let colour = |colour: &str| json!({"data": {"colour": colour}});
    scene
        .patch("configmap/settings", "merge", &colour("red"))
        .denied(&[".data.colour"]);
    scene.kubectl("delete configmap settings").denied(&[]);
    let annotations = json!({"metadata": {"annotations": null}});
    scene
        .patch("configmap/settings", "merge", &annotations)
        .denied(&["meta.helm.sh/release-name"]);

    scene.drift("configmap/settings", "merge", &annotations);
    scene
        .patch("configmap/settings", "merge", &colour("red"))
        .quiet();
    assert_eq!(
        scene.verdict("patch", "configmaps", "settings"),
        Verdict::not_called()
    );
    scene.helm("uninstall settings").ok();
    assert!(!scene.holds("configmap/settings"));
}

#[test]
fn both_marks_of_an_object_cannot_be_removed_at_once() {
    world();
    let scene = Scene::new("unmarking", HELM[1]);
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let both = json!({"metadata": {"labels": null, "annotations": null}});
    scene
        .patch("configmap/settings", "merge", &both)
        .denied(&["meta.helm.sh/release-name"]);
}

/// Scenario 39.
#[rstest]
fn an_install_may_adopt_an_existing_object(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("adoption", version);
    scene
        .kubectl("create configmap settings --from-literal=colour=red")
        .ok();
    scene
        .kubectl("label configmap settings app.kubernetes.io/managed-by=Helm")
        .quiet();
    let ns = &scene.ns;
    scene
        .kubectl(&format!(
            "annotate configmap settings meta.helm.sh/release-name=settings \
             meta.helm.sh/release-namespace={ns}"
        ))
        .quiet();
    let chart = shared().chart(&single(CONFIG_MAP));
    let install = format!("install settings {}", chart.display());
    scene.helm(&install).args(force_conflicts(version)).ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "blue");
}

/// Scenario 35, and 36: Helm would delete an object that now belongs to another release (helm#32218).
#[rstest]
fn a_release_may_take_ownership_and_the_old_owner_cannot_delete_the_object(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("takeover", version);
    let other = CONFIG_MAP.replace("settings", "other");
    scene.install("old", &single(&format!("{CONFIG_MAP}---\n{other}")));
    let owner =
        |name: &str| json!({"metadata": {"annotations": {"meta.helm.sh/release-name": name}}});
    scene.settled("configmap/settings", 1);
    scene
        .patch("configmap/settings", "merge", &owner("new"))
        .denied(&["meta.helm.sh/release-name"]);

    let red = single(&CONFIG_MAP.replace("blue", "red"));
    let red = shared().chart(&red);
    scene
        .helm(&format!("install new {} --take-ownership", red.display()))
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "red");

    let less = shared().chart(&single(&other));
    let upgrade = scene.helm(&format!("upgrade old {}", less.display()));
    match version {
        // Helm 3 only logs that it failed to delete.
        HelmVersion::V3 => drop(upgrade.ok()),
        HelmVersion::V4 => drop(upgrade.denied(&["declared by Helm release \"new\""])),
    }
    let object = ("configmaps", scene.ns.name(), "settings");
    assert_eq!(verdict(ALICE, "delete", object).decision, "denied");
    assert!(scene.holds("configmap/settings"));
}

/// A release that only the request names is looked up. A missing release or an invalid name allows
/// nothing.
#[rstest]
#[case::without_a_record("elsewhere", "new")]
#[case::with_an_invalid_name("elsewhere", "new,owner!=helm")]
#[case::in_an_invalid_namespace("../../nodes", "new")]
fn changing_the_owner_annotations_by_hand_is_a_violation(
    #[case] namespace: &str,
    #[case] release: &str,
) {
    world();
    let scene = Scene::new("forged", HELM[0]);
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let patch = json!({
        "data": {"colour": "red"},
        "metadata": {"annotations": {
            "meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace,
        }},
    });
    scene
        .patch("configmap/settings", "merge", &patch)
        .denied(&[".data.colour"]);
}

/// Scenario 34. Helm 4 applies the namespace as field manager `helm`, with only its name. This changes
/// nothing in a namespace that Helm 3 created.
#[test]
fn create_namespace_is_allowed_over_a_namespace_of_a_helm_3_release() {
    world();
    let scene = Scene::new("owned-namespace", HELM[0]);
    let inner = format!("{}-inner", scene.ns);
    scene.install("namespaces", &single(&namespace(&inner)));
    let what = format!("namespace/{inner}");
    scene.settled(&what, 1);
    create_namespace(&inner).ok();
    assert_eq!(scene.at(&what, "/metadata/labels/team"), "checkout");
    let uninstall = ["uninstall", "settings", "-n", &inner];
    helm4().args(uninstall).ok();
    scene
        .kubectl(&format!("delete namespace {inner}"))
        .denied(&[&format!(
            "Namespace \"{inner}\" is declared by Helm release \"namespaces\""
        )]);
    scene.helm("uninstall namespaces").ok();
}

/// Scenario 34, if Helm 4 created it: the apply then removes the other release's labels and marks,
/// because the field manager is the same.
#[test]
fn create_namespace_that_would_strip_the_marks_of_another_release_is_denied() {
    world();
    let scene = Scene::new("stripped-namespace", HELM[1]);
    let inner = format!("{}-inner", scene.ns);
    scene.install("namespaces", &single(&namespace(&inner)));
    let what = format!("namespace/{inner}");
    scene.settled(&what, 1);
    create_namespace(&inner).denied(&[
        "declared by Helm release \"namespaces\"",
        ".metadata.labels.team: declared \"checkout\", live \"checkout\", requested nothing",
    ]);
    let label = "/metadata/labels/app.kubernetes.io~1managed-by";
    assert_eq!(scene.at(&what, label), "Helm");
    let chart = shared().chart(&single(CONFIG_MAP));
    helm4()
        .args(["install", "settings", "-n", &inner])
        .arg(chart)
        .ok();
    // Its content would be deleted with the namespace.
    scene.helm("uninstall namespaces").refused();
    assert_eq!(scene.at(&what, label), "Helm");
    helm4().args(["uninstall", "settings", "-n", &inner]).ok();
    scene.helm("uninstall namespaces").ok();
}

fn namespace(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: {name}, labels: {{team: checkout}}}}
"
    )
}

fn helm4() -> Invocation {
    shared().helm(HelmVersion::V4).cmd(shared().alice())
}

fn create_namespace(namespace: &str) -> Invocation {
    let chart = shared().chart(&single(CONFIG_MAP));
    helm4()
        .args(["install", "settings", "--create-namespace", "-n", namespace])
        .arg(chart)
}

/// Scenario 33: Helm 4 applies the CRDs of `crds/` again before there is any record, as field
/// manager `helm`. If a release of Helm 3 declares the CRD, this changes nothing; if one of Helm 4
/// does, it removes the marks of that release.
#[rstest]
#[case::of_helm_3(HelmVersion::V3)]
#[case::of_helm_4(HelmVersion::V4)]
fn a_crd_in_the_crds_folder_may_not_strip_the_crd_of_another_release(#[case] owner: HelmVersion) {
    world();
    let scene = Scene::new("crds", owner);
    let group = format!("{}.example.com", scene.ns);
    let crd = crate::charts::widgets_crd(&group);
    scene.install("operator", &single(&crd));
    let name = format!("customresourcedefinition/widgets.{group}");
    scene.settled(&name, 1);
    let chart = shared().chart(&single(CONFIG_MAP).crd("widgets.yaml", &crd));
    let install = |more: &[&str]| {
        let helm = helm4().args(["install", "user", "-n", scene.ns.name()]);
        helm.arg(&chart).args(more)
    };
    match owner {
        HelmVersion::V3 => install(&[]).ok(),
        HelmVersion::V4 => {
            install(&[]).denied(&["declared by Helm release \"operator\""]);
            install(&["--skip-crds"]).ok()
        }
    };
    let label = "/metadata/labels/app.kubernetes.io~1managed-by";
    assert_eq!(scene.at(&name, label), "Helm");
    scene.kubectl(&format!("delete {name}")).denied(&[]);
    scene.helm("uninstall operator").ok();
}

/// A release with a record in another namespace takes over objects that `old` declares, including a
/// cluster-scoped one. Cluster-admins may do this, and it is reported.
#[rstest]
fn a_release_of_another_namespace_may_take_ownership_if_its_user_may_write_both_and_is_reported(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("far-takeover", version);
    let away = shared().namespace("taker");
    let (chart, role) = of_two_scopes(&scene);
    let chart = scene.install("old", &chart);
    scene.settled("configmap/settings", 1);
    scene
        .helm(&format!("install new {} --take-ownership", chart.display()))
        .args(["-n", away.name()])
        .args(force_conflicts(version))
        .ok();
    let annotation = "/metadata/annotations/meta.helm.sh~1release-namespace";
    for what in ["configmap/settings", &format!("clusterrole/{role}")] {
        assert_eq!(scene.at(what, annotation), away.name(), "{what}");
        let (_, name) = what.split_once('/').unwrap();
        let line = eventually("an audit line about the new owner", || {
            let mut lines = log_about(scene.ns.name()).into_iter();
            lines.find(|line| line["reason"] == "ownership-taken" && line["object"]["name"] == name)
        });
        assert_eq!(line["verdict"], "allowed");
        assert_eq!(line["user"], ALICE);
        assert_eq!(line["findings"][0]["release"]["name"], "old");
    }
    let event = eventually("an event on the object", || {
        let events = scene.get("events.events.k8s.io");
        let mut events = events["items"].as_array().unwrap().clone().into_iter();
        events.find(|event| event["reason"] == "OwnershipTaken")
    });
    assert_eq!(event["regarding"]["name"], "settings");
}

#[rstest]
fn a_release_of_another_namespace_may_not_take_ownership_if_its_user_writes_only_its_own_records(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("thief", version);
    let away = shared().namespace("thief-home");
    let (chart, role) = of_two_scopes(&scene);
    let chart = scene.install("old", &chart);
    scene.settled("configmap/settings", 1);
    let user = format!("{}@example.com", away.name());
    let bind = |line: &str| scene.oncall(&format!("{line} --user={user}")).ok();
    let ns = scene.ns.name();
    let away_name = away.name();
    bind(&format!(
        "create rolebinding thief --clusterrole=admin -n {away_name}"
    ));
    scene
        .oncall("create role writer --verb=* --resource=configmaps")
        .ok();
    bind("create rolebinding writer --role=writer");
    let roles = "create clusterrole thief-SCOPE --verb=* --resource=clusterroles";
    scene.oncall(&roles.replace("SCOPE", ns)).ok();
    bind(&format!(
        "create clusterrolebinding thief-{ns} --clusterrole=thief-{ns}"
    ));
    let kubeconfig = shared().user(&user, &[]).unwrap();
    scene
        .helm_as(
            &kubeconfig,
            &format!("install new {} --take-ownership", chart.display()),
        )
        .args(["-n", away.name()])
        .args(force_conflicts(version))
        .denied(&["release-namespace"]);
    let annotation = "/metadata/annotations/meta.helm.sh~1release-namespace";
    for what in ["configmap/settings", &format!("clusterrole/{role}")] {
        assert_eq!(scene.at(what, annotation), ns, "{what}");
    }
}

/// A chart with a namespaced and a cluster-scoped object, and the name of the latter.
fn of_two_scopes(scene: &Scene) -> (testbed::Chart, String) {
    let role = format!("reader-{}", scene.ns);
    let config_map = CONFIG_MAP.replace(
        "{name: settings}",
        &format!("{{name: settings, namespace: {}}}", scene.ns),
    );
    let cluster_role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {role}}}
rules: []
"
    );
    (single(&format!("{config_map}---\n{cluster_role}")), role)
}
