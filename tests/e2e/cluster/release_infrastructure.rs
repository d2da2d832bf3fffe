//! Release infrastructure: records, namespaces, CRDs. Story 6, and scenarios 57 and 69.

use rstest::rstest;
use serde_json::json;
use testbed::{ALICE, HelmVersion, shared};

use crate::{
    charts::{CONFIG_MAP, single, widgets_crd},
    scene::{Scene, Screen, established, eventually, record_name, verdict},
    world::world,
};

fn scene(stem: &str, version: HelmVersion) -> Scene {
    world();
    Scene::new(stem, version)
}

fn api(name: &str) -> testbed::Chart {
    single(&CONFIG_MAP.replace("settings", name))
}

/// Story 6.
#[rstest]
fn the_cleanup_script_is_denied_with_a_list_of_what_would_be_lost(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("cleanup", version);
    let ns = scene.ns.name();
    let web = scene.install("web", &api("web-settings"));
    scene
        .helm(&format!("upgrade web {} --set a=b", web.display()))
        .ok();
    scene.install("db", &api("db-settings"));
    scene.settled("configmap/web-settings", 2);
    scene.settled("configmap/db-settings", 1);

    let is_the_record = |release: &str, revision: u32| {
        format!(
            "Secret \"{}\" is the record of Helm release \"{release}\" in namespace \"{ns}\"",
            record_name(release, revision)
        )
    };
    let records = [("web", 1), ("web", 2), ("db", 1)];
    let words: Vec<_> = records.map(|(name, n)| is_the_record(name, n)).into();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    scene.kubectl("delete secret -l owner=helm").denied(&words);
    let collection =
        format!("delete --raw /api/v1/namespaces/{ns}/secrets?labelSelector=owner%3Dhelm");
    scene
        .kubectl(&collection)
        .denied(&["Other releases recorded there:"]);
    for (release, revision) in records {
        assert!(scene.holds(&format!("secret/{}", record_name(release, revision))));
    }

    let delete = format!("delete namespace {ns} --timeout=90s");
    scene.kubectl(&delete).denied(&[
        &format!("Namespace \"{ns}\" holds Helm releases"),
        &format!("Helm release \"db\" in namespace \"{ns}\" (revision 1, chart single-1.0.0)"),
        &format!("Helm release \"web\" in namespace \"{ns}\" (revision 2, chart single-1.0.0)"),
        &format!("helm uninstall web -n {ns}"),
    ]);
    scene.helm("uninstall web").quiet();
    scene.kubectl(&delete).denied(&["\"db\""]);
    scene.helm("uninstall db --keep-history").quiet();
    scene.kubectl(&delete).quiet();
}

#[rstest]
fn manual_edits_of_a_record_are_denied(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("edited", version);
    let chart = scene.install("web", &api("web-settings"));
    let name = record_name("web", 1);
    let rewritten = scene.rewritten_record("web", 1, |body| body["manifest"] = json!(""));
    scene
        .kubectl("replace -f -")
        .stdin(rewritten)
        .denied(&[".data.release.manifest", "helm rollback web -n"]);
    for label in ["status=uninstalled", "owner-", "name=other"] {
        let key = label.split(['=', '-']).next().unwrap();
        scene
            .kubectl(&format!("label secret {name} --overwrite {label}"))
            .denied(&[&format!(".metadata.labels.{key}")]);
    }
    scene
        .patch(
            &format!("secret/{name}"),
            "merge",
            &json!({"immutable": true}),
        )
        .denied(&[".immutable"]);
    scene
        .kubectl(&format!("annotate secret {name} backup=yes"))
        .quiet();
    scene
        .kubectl(&format!("label secret {name} team=checkout"))
        .quiet();
    assert_eq!(
        scene.verdict("patch", "secrets", &name).reason,
        "nothing-declared-changes"
    );
    scene
        .helm(&format!("upgrade web {}", chart.display()))
        .quiet();
    scene.helm("rollback web 1").quiet();
    scene.helm("uninstall web").quiet();
}

/// Helm prunes a long history before it writes a new record; a delete by kubectl is not pruning.
#[rstest]
fn only_helm_may_prune_its_history(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[values("secret", "configmap")] driver: &str,
) {
    let scene = scene(&format!("pruning-{driver}"), version);
    let chart = shared().chart(&api("web-settings"));
    let chart = chart.display();
    let helm = |line: String| scene.helm(&line).env("HELM_DRIVER", driver);
    helm(format!("install web {chart}")).quiet();
    for _ in 0..3 {
        helm(format!("upgrade web {chart} --history-max 2")).quiet();
    }
    let record = |revision| format!("{driver}/{}", record_name("web", revision));
    assert_eq!(
        [2, 3, 4].map(|revision| scene.holds(&record(revision))),
        [false, true, true]
    );
    for revision in [3, 4] {
        scene
            .kubectl(&format!("delete {}", record(revision)))
            .denied(&["is the record of Helm release \"web\""]);
    }
    scene.oncall(&format!("delete {}", record(3))).warned(&[
        "break-glass change",
        "is the record of Helm release \"web\"",
    ]);
    helm("uninstall web".to_owned()).quiet();
    assert!(!scene.holds(&record(4)));
}

fn widget(group: &str) -> String {
    format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\nspec: {{size: 2}}\n")
}

/// Instances are deleted with their CRD, and no webhook is called for them.
#[rstest]
fn a_crd_in_use_cannot_be_deleted(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("in-use", version);
    let group = format!("{}.example.com", scene.ns);
    let chart = single(&widget(&group)).crd("widgets.yaml", &widgets_crd(&group));
    scene.install("widgets", &chart);
    scene.settled(&format!("widgets.{group}/one"), 1);
    let delete = format!("delete customresourcedefinition widgets.{group}");
    scene.kubectl(&delete).denied(&[
        "has instances that Helm releases declare",
        &format!("\"widgets\" in namespace \"{}\"", scene.ns),
        "Widget \"one\"",
    ]);
    scene.helm("uninstall widgets").quiet();
    scene.kubectl(&delete).quiet();
}

/// The CRD belongs to its own release, as in charts of operators.
#[rstest]
fn uninstalling_may_delete_the_crd_of_the_release_unless_others_use_it(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("operator", version);
    let group = format!("{}.example.com", scene.ns);
    scene.install("operator", &single(&widgets_crd(&group)));
    established(&[&format!("widgets.{group}")]);
    eventually("an API server that serves the new kind", || {
        let create = scene.kubectl("create --dry-run=server -f -");
        let output = create.stdin(widget(&group)).run();
        output.status.success().then_some(())
    });
    scene.install("user", &single(&widget(&group)));
    scene.settled(&format!("widgets.{group}/one"), 1);
    // Helm reports the reason only with --debug.
    scene.helm("uninstall operator").refused();
    let crd = format!("widgets.{group}");
    assert_eq!(
        verdict(ALICE, "delete", ("customresourcedefinitions", "", &crd)).reason,
        "definition-in-use"
    );
    assert!(scene.holds(&format!("widgets.{group}/one")));
    scene.helm("uninstall user").quiet();
    scene.helm("uninstall operator").quiet();
    // Its finalizer deletes the objects first, after the answer.
    eventually("the end of the CRD", || {
        (!scene.holds(&format!("customresourcedefinition/widgets.{group}"))).then_some(())
    });
}
