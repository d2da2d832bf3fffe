//! What earlier and unfinished operations left.

use base64::{Engine, engine::general_purpose::STANDARD};
use rstest::rstest;
use serde_json::json;

use super::scene::{DEPLOYED, MANIFEST, ReleaseScene, SceneObject, managed};
use crate::{
    helm::{
        hooks::{self, HookObject},
        lifecycle::RevisionStatus::{Deployed, Failed, Superseded},
        record::{ApplyMethod, RecordLimits, decode},
    },
    scan::{Consequence, FindingClass, FindingSeverity},
};

const WEB: &str = "Deployment/web";
const ADDED: &str = "
---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
data: {a: '1'}
";

/// Revision 4 added an object and an item of a list, and failed; revision 5 is as 3 was.
fn leaked() -> ReleaseScene {
    let failed = MANIFEST.replace("env: [", "env: [{name: B, value: b}, ") + ADDED;
    let mut scene = ReleaseScene::deployed();
    scene.revision(3).status = Superseded;
    scene.add(4, Failed, &failed);
    scene.add(5, Deployed, MANIFEST);
    scene.apply(&failed, DEPLOYED);
    scene
}

#[test]
fn what_a_failed_revision_added_is_leaked() {
    let mut scene = leaked();
    let expected = ["Leaked Deployment shop/web", "Leaked ConfigMap shop/extra"];
    assert_eq!(scene.found(), expected);
    let findings = scene.scan().findings;
    assert_eq!(
        findings[0].path.as_deref(),
        Some(".spec.template.spec.containers[name=web].env[name=B]")
    );
    assert_eq!(findings[0].live, Some(json!({"name": "B", "value": "b"})));
    assert_eq!(findings[0].declared, None);
    assert!(
        findings
            .iter()
            .all(|one| one.consequence == Consequence::Leaked)
    );
    scene.live.remove("ConfigMap/extra");
    scene.apply(MANIFEST, DEPLOYED);
    assert_eq!(scene.found(), [""; 0]);
}

#[test]
fn what_somebody_else_added_or_changed_is_not_leaked() {
    let mut scene = leaked();
    let entry = &mut scene.object(WEB)["metadata"]["managedFields"][0];
    entry["manager"] = json!("kubectl");
    assert_eq!(scene.found(), ["Leaked ConfigMap shop/extra"]);
    let mut scene = leaked();
    scene.object(WEB)["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = json!("c");
    assert_eq!(scene.found(), ["Leaked ConfigMap shop/extra"]);
    let annotations = "/metadata/annotations";
    scene.remove("ConfigMap/extra", annotations);
    assert_eq!(scene.found(), [""; 0], "another object of that name");
}

#[test]
fn what_a_rolled_back_revision_added_is_leaked_if_the_rollback_failed() {
    let mut scene = leaked();
    scene.revision(4).status = Superseded;
    assert_eq!(
        scene.found(),
        [""; 0],
        "an upgrade removes it, or keeps it on purpose"
    );
    scene.revision(5).rolled_back_to = Some(3);
    assert_eq!(
        scene.found(),
        [""; 0],
        "and so does a rollback: what is left has its default value"
    );
    scene.revision(5).status = Failed;
    scene.add(6, Deployed, MANIFEST);
    scene.apply(MANIFEST, DEPLOYED);
    let added = scene.revision(4).manifest.clone();
    scene.apply(&added, DEPLOYED);
    assert_eq!(scene.found().len(), 2);
    // The annotation of the chart kept it, and not Helm's forgetting.
    let annotations = &mut scene.object("ConfigMap/extra")["metadata"]["annotations"];
    annotations["helm.sh/resource-policy"] = json!("keep");
    let expected = [
        "Leaked Deployment shop/web",
        "Orphaned ConfigMap shop/extra",
    ];
    assert_eq!(scene.found(), expected);
    let kept = &scene.scan().findings[1];
    assert_eq!(kept.consequence, Consequence::Kept);
    assert_eq!(kept.severity, FindingSeverity::Info);
}

/// Revision 4 changes the Deployment and the ConfigMap, adds another, and fails.
fn unfinished() -> ReleaseScene {
    let next = MANIFEST
        .replace("web:1", "web:2")
        .replace("a: '1'", "a: '9'")
        + ADDED;
    let mut scene = ReleaseScene::deployed();
    scene.add(4, Failed, &next);
    scene
}

#[test]
fn objects_of_different_revisions_are_partially_applied() {
    let mut scene = unfinished();
    assert_eq!(scene.found(), [""; 0], "nothing was applied");
    scene.object(WEB)["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    let expected = [
        "PartiallyApplied ConfigMap shop/web",
        "PartiallyApplied ConfigMap shop/extra",
    ];
    assert_eq!(scene.found(), expected);
    let consequences: Vec<_> = scene
        .scan()
        .findings
        .iter()
        .map(|one| one.consequence)
        .collect();
    assert_eq!(
        consequences,
        [Consequence::Reverted, Consequence::Recreated]
    );
    let next = scene.revision(4).manifest.clone();
    scene.apply(&next, DEPLOYED);
    assert_eq!(scene.found(), [""; 0], "everything was applied");
}

#[test]
fn an_object_may_follow_two_revisions_in_parts() {
    let next = MANIFEST
        .replace("web:1", "web:2")
        .replace("replicas: 3", "replicas: 4");
    let mut scene = ReleaseScene::deployed();
    scene.add(4, Failed, &next);
    scene.object(WEB)["spec"]["replicas"] = json!(4);
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::PartiallyApplied);
    assert!(
        finding.message.contains("revisions 3 and 4 in parts"),
        "{}",
        finding.message
    );
}

#[test]
fn an_install_that_failed_halfway_is_partially_applied() {
    let mut scene = ReleaseScene::deployed();
    scene.revision(3).status = Failed;
    scene.live.remove("Widget/web");
    assert_eq!(scene.found(), ["PartiallyApplied Widget shop/web"]);
    scene.live.clear();
    assert_eq!(scene.found(), [""; 0], "nothing was created");
}

#[test]
fn an_object_that_both_active_revisions_declare_is_missing() {
    let mut scene = unfinished();
    scene.live.remove("Secret/web");
    assert_eq!(scene.found(), ["Missing Secret shop/web"]);
}

fn hook(policy: &str, phase: &str) -> Vec<HookObject> {
    hook_of("pre-upgrade", "Job", policy, phase)
}

fn hook_of(event: &str, kind: &str, policy: &str, phase: &str) -> Vec<HookObject> {
    let manifest = format!(
        "apiVersion: batch/v1\nkind: {kind}\nmetadata:\n  name: migrate\n  annotations:\n    \
         helm.sh/hook: {event}\n    helm.sh/hook-delete-policy: {policy:?}\n"
    );
    let body = json!({
        "name": "web", "namespace": "shop", "version": 3,
        "hooks": [{
            "name": "migrate", "kind": kind, "manifest": manifest, "events": [event],
            "last_run": {"phase": phase},
        }],
    });
    let body = STANDARD.encode(body.to_string());
    hooks::objects(&decode(body.as_bytes(), &RecordLimits::default()).unwrap())
}

fn with_hook(number: u32, hooks: Vec<HookObject>) -> ReleaseScene {
    let mut scene = ReleaseScene::deployed();
    if number != 3 {
        scene.add(number, Superseded, MANIFEST);
    }
    scene.revision(number).hooks = hooks;
    let mut job = json!({
        "metadata": {"name": "migrate", "namespace": "shop", "creationTimestamp": DEPLOYED,
            "annotations": {"helm.sh/hook": "pre-upgrade"}},
        "spec": {},
    });
    job["metadata"]["managedFields"] = json!([managed("helm", DEPLOYED, &job)]);
    scene
        .live
        .insert("Job/migrate".to_owned(), SceneObject::Present(job));
    scene
}

#[rstest]
#[case::default("", "Succeeded", None)]
#[case::succeeded("hook-succeeded", "Succeeded", Some(Consequence::Blocks))]
#[case::also_before_the_next(
    "before-hook-creation,hook-succeeded",
    "Succeeded",
    Some(Consequence::Recreated)
)]
#[case::failed_and_kept_for_people("hook-succeeded", "Failed", Some(Consequence::Blocks))]
#[case::kept_until_the_next("before-hook-creation,hook-succeeded", "Failed", None)]
#[case::failed("hook-failed", "Failed", Some(Consequence::Blocks))]
#[case::running("hook-succeeded,hook-failed", "Running", Some(Consequence::Blocks))]
fn a_hooks_object_that_helm_should_have_deleted_is_a_leftover(
    #[case] policy: &str,
    #[case] phase: &str,
    #[case] expected: Option<Consequence>,
) {
    let mut scene = with_hook(3, hook(policy, phase));
    let found: Vec<_> = scene.scan().findings;
    let consequences: Vec<_> = found
        .iter()
        .map(|one| (one.class, one.consequence))
        .collect();
    let expected: Vec<_> = expected
        .map(|one| (FindingClass::HookLeftover, one))
        .into_iter()
        .collect();
    assert_eq!(consequences, expected);
    assert_eq!(scene.scan().objects, 4, "a hook is not declared");
    scene.live.remove("Job/migrate");
    assert_eq!(scene.found(), [""; 0]);
}

/// A Job that failed does not run again when it is applied.
#[rstest]
#[case::succeeded("hook-succeeded", "Succeeded", Consequence::Reverted)]
#[case::failed("hook-failed", "Failed", Consequence::Blocks)]
fn a_server_side_upgrade_applies_the_hook_that_is_there(
    #[case] policy: &str,
    #[case] phase: &str,
    #[case] expected: Consequence,
) {
    let mut scene = with_hook(3, hook(policy, phase));
    scene.method = ApplyMethod::ServerSide;
    assert_eq!(scene.only().consequence, expected);
}

#[rstest]
#[case::of_a_test("test")]
#[case::of_a_rollback("pre-rollback")]
fn an_upgrade_keeps_what_a_hook_left_that_it_does_not_run(#[case] event: &str) {
    let scene = with_hook(3, hook_of(event, "Job", "hook-succeeded", "Succeeded"));
    assert_eq!(scene.only().consequence, Consequence::Kept);
}

/// An operation runs only the hooks of its events, and the record of the next says nothing of the others.
#[test]
fn a_hook_that_ended_in_an_earlier_revision_has_ended() {
    let of = |phase| hook_of("test", "Job", "hook-succeeded", phase);
    let mut scene = with_hook(3, of(""));
    assert_eq!(scene.found(), [""; 0]);
    scene.add(2, Superseded, MANIFEST);
    scene.revision(2).hooks = of("Succeeded");
    assert_eq!(scene.only().class, FindingClass::HookLeftover);
}

#[test]
fn a_hook_that_the_newest_revision_does_not_have_is_a_leftover() {
    let mut scene = with_hook(2, hook("", "Succeeded"));
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::HookLeftover);
    assert_eq!(finding.consequence, Consequence::Leaked);
    assert_eq!(finding.since.as_deref(), Some(DEPLOYED));
    scene.object("Job/migrate")["metadata"]["annotations"] = json!({});
    assert_eq!(scene.found(), [""; 0], "another Job of that name");
}
