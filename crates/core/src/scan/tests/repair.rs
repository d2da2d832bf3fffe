//! Patches that restore what is declared: right where they apply, and nowhere else.

use json_patch::{Patch, PatchOperation};
use rstest::rstest;
use serde_json::{Value, json};

use super::scene::{MANIFEST, ReleaseScene, SceneObject};
use crate::{
    compare::{
        Json,
        rules::EmptyListPolicy,
        schema::{Shape, builtin::builtin},
    },
    helm::lifecycle::RevisionStatus,
    scan::{
        DriftFinding, FindingClass, KindFacts, drift,
        exact::ExactDifference,
        repair::{self, FieldRepair, LostField, NoRepair},
        scanned::UnreadableReason,
    },
};

const WEB: &str = "Deployment/web";

/// Applies a patch as the API server does: a test of null passes where nothing is.
fn apply(patch: &Patch, object: &mut Value) -> Result<(), String> {
    let mut rest = Vec::new();
    for operation in &patch.0 {
        match operation {
            PatchOperation::Test(test) if test.value.is_null() => {
                if let Some(found) = test.path.resolve(object).ok().filter(|at| !at.is_null()) {
                    return Err(format!("{} is {found}", test.path));
                }
            }
            other => rest.push(other.clone()),
        }
    }
    json_patch::patch(object, &rest).map_err(|error| error.to_string())
}

fn kind(group: &str, kind: &str) -> KindFacts<'static> {
    KindFacts {
        shape: builtin()
            .lookup(group, "v1", kind)
            .unwrap_or_else(Shape::plain),
        empties: EmptyListPolicy::Dropped,
    }
}

fn repairs(
    declared: &Value,
    live: &Value,
    kind: KindFacts<'_>,
) -> Vec<Result<FieldRepair, NoRepair>> {
    let (text, live_text) = (declared.to_string(), live.to_string());
    let found = drift(Json::of(&text), Json::of(&live_text), kind);
    let value = |json: Json<'_>| serde_json::from_str::<Value>(json.text()).unwrap();
    let one = |violation: &crate::compare::Violation<'_>| {
        let whole = violation.whole.as_ref();
        FieldRepair::of(&LostField {
            object: live,
            shape: kind.shape,
            manifest: Some(declared),
            path: whole.map_or(&violation.path, |whole| &whole.path),
            declared: &value(whole.map_or(violation.declared, |whole| whole.declared)),
            live: whole
                .map_or(violation.new, |whole| whole.new)
                .map(value)
                .as_ref(),
        })
    };
    found.iter().map(one).collect()
}

fn whole_patch(declared: &Value, live: &Value, kind: KindFacts<'_>) -> Patch {
    let repairs: Result<Vec<_>, _> = repairs(declared, live, kind).into_iter().collect();
    repair::patch(&repairs.unwrap())
}

fn pod(containers: impl Into<Value>) -> Value {
    json!({"spec": {"template": {"spec": {"containers": containers.into()}}}})
}

#[rstest]
#[case::value(json!({"spec": {"replicas": 3}}), json!({"spec": {"replicas": 5, "paused": true}}))]
#[case::key_with_slash_and_tilde(
    json!({"metadata": {"labels": {"a/b~c": "1", "x": "y"}}}),
    json!({"metadata": {"labels": {"a/b~c": "2", "other": "z"}}})
)]
#[case::map_that_is_gone(json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {}}))]
#[case::other_position(
    pod(json!([{"name": "web", "image": "web:1"}])),
    pod(json!([{"name": "sidecar", "image": "s"}, {"name": "web", "image": "web:2"}]))
)]
#[case::item_that_was_first(
    pod(json!([{"name": "a"}, {"name": "b"}])),
    pod(json!([{"name": "b", "image": "x"}, {"name": "sidecar"}]))
)]
#[case::item_that_was_last(pod(json!([{"name": "a"}, {"name": "b"}])), pod(json!([{"name": "a"}])))]
#[case::all_items(pod(json!([{"name": "a"}, {"name": "b"}])), pod(json!([{"name": "c"}])))]
#[case::many_places_at_once(
    pod(json!([
        {"name": "a", "env": [{"name": "A", "value": "1"}]},
        {"name": "b", "image": "b:1", "args": ["x", "y"],
         "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}, {"name": "C", "value": "3"}]},
        {"name": "c"},
    ])),
    pod(json!([
        {"name": "b", "image": "b:2", "args": ["x", "z"],
         "env": [{"name": "X", "value": "0"}, {"name": "C", "value": "4"}]},
        {"name": "d"},
    ]))
)]
#[case::key_left_at_its_default(
    pod(json!([{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}])),
    pod(json!([{"name": "a", "ports": [
        {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP", "name": "web"},
    ]}]))
)]
#[case::atomic_list(
    pod(json!([{"name": "a", "args": ["x", "y"]}])), pod(json!([{"name": "a", "args": ["y"]}]))
)]
#[case::set(
    json!({"metadata": {"finalizers": ["a/b", "c/d"]}}), json!({"metadata": {"finalizers": ["x/y", "c/d"]}})
)]
#[case::atomic_object(
    json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}),
    json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "c", "x": "y"}}}}})
)]
fn a_patch_restores_what_is_declared_and_nothing_else(
    #[case] declared: Value,
    #[case] live: Value,
) {
    let kind = kind("apps", "Deployment");
    let patch = whole_patch(&declared, &live, kind);
    let mut patched = live.clone();
    apply(&patch, &mut patched).unwrap();
    let texts = [declared.to_string(), patched.to_string()];
    let left = drift(Json::of(&texts[0]), Json::of(&texts[1]), kind);
    assert!(left.is_empty(), "{patched}\n{left:?}");
    // A test comes before every write, and a second run finds another object than it was made for.
    let is_test = |one: &PatchOperation| matches!(one, PatchOperation::Test(_));
    assert!(patch.iter().is_sorted_by_key(|one| !is_test(one)));
    apply(&patch, &mut patched).unwrap_err();
}

#[test]
fn what_is_not_declared_stays_and_items_return_to_their_places() {
    let declared = pod(json!([
        {"name": "a"},
        {"name": "b", "env": [{"name": "A"}, {"name": "B"}, {"name": "C"}]},
        {"name": "c"},
    ]));
    let live = pod(json!([
        {"name": "x"},
        {"name": "b", "env": [{"name": "A"}, {"name": "Y"}], "tty": true},
    ]));
    let mut patched = live.clone();
    apply(
        &whole_patch(&declared, &live, kind("apps", "Deployment")),
        &mut patched,
    )
    .unwrap();
    let expected = pod(json!([
        {"name": "a"},
        {"name": "x"},
        {"name": "b", "env": [{"name": "A"}, {"name": "B"}, {"name": "C"}, {"name": "Y"}], "tty": true},
        {"name": "c"},
    ]));
    assert_eq!(patched, expected);
}

#[test]
fn a_patch_is_what_people_would_write() {
    let declared = pod(json!([{"name": "web", "image": "web:1"}]));
    let live = pod(json!([{"name": "s"}, {"name": "web", "image": "web:2"}]));
    let patch = whole_patch(&declared, &live, kind("apps", "Deployment"));
    let at = "/spec/template/spec/containers/1";
    assert_eq!(
        serde_json::to_value(&patch).unwrap(),
        json!([
            {"op": "test", "path": format!("{at}/name"), "value": "web"},
            {"op": "test", "path": format!("{at}/image"), "value": "web:2"},
            {"op": "replace", "path": format!("{at}/image"), "value": "web:1"},
        ])
    );
}

#[rstest]
#[case::value("/spec/template/spec/containers/1/image", json!("web:3"))]
#[case::item_that_moved("/spec/template/spec/containers/1/name", json!("other"))]
#[case::field_that_came_back("/metadata/labels", json!({"a": "other"}))]
#[case::list_that_changed("/spec/template/spec/containers/1/args", json!(["z", "y"]))]
#[case::list_that_grew("/spec/template/spec/volumes", json!([{"name": "x"}, {"name": "v"}]))]
fn a_patch_fails_on_an_object_that_changed_since(#[case] pointer: &str, #[case] value: Value) {
    let declared = json!({
        "metadata": {"labels": {"a": "b"}},
        "spec": {"template": {"spec": {
            "containers": [{"name": "web", "image": "web:1", "args": ["x", "y"]}],
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
        }}},
    });
    let live = json!({
        "metadata": {"labels": {}},
        "spec": {"template": {"spec": {
            "containers": [{"name": "s"}, {"name": "web", "image": "web:2", "args": ["z", "z"]}],
            "volumes": [{"name": "x"}],
        }}},
    });
    let patch = whole_patch(&declared, &live, kind("apps", "Deployment"));
    apply(&patch, &mut live.clone()).unwrap();
    let mut changed = live;
    *changed.pointer_mut(pointer).unwrap() = value;
    apply(&patch, &mut changed).unwrap_err();
}

#[rstest]
#[case::repeated_key(
    pod(json!([{"name": "a", "env": [{"name": "A", "value": "1"}]}])),
    pod(json!([{"name": "a", "env": [{"name": "A", "value": "2"}, {"name": "A", "value": "3"}]}])),
    NoRepair::Ambiguous
)]
#[case::order(
    json!({"spec": {"template": {"spec": {"initContainers": [{"name": "a"}, {"name": "b"}]}}}}),
    json!({"spec": {"template": {"spec": {"initContainers": [{"name": "b"}, {"name": "x"}, {"name": "a"}]}}}}),
    NoRepair::WholeList
)]
fn where_a_patch_could_be_wrong_there_is_none(
    #[case] declared: Value,
    #[case] live: Value,
    #[case] expected: NoRepair,
) {
    let found = repairs(&declared, &live, kind("apps", "Deployment"));
    assert!(!found.is_empty());
    for one in found {
        assert_eq!(one, Err(expected));
    }
}

fn exact(finding: &DriftFinding) -> &ExactDifference {
    finding.exact.as_deref().unwrap()
}

#[test]
fn a_finding_has_whole_values_however_long_they_are() {
    let mut scene = ReleaseScene::deployed();
    let long = "x\n".repeat(50_000);
    scene.edit("ConfigMap/web", "/data/a", &json!(long), "kubectl");
    let finding = scene.only();
    assert!(finding.live.as_ref().unwrap().to_string().len() < 300);
    let exact = exact(&finding);
    assert_eq!(exact.live, Some(json!(long)));
    assert_eq!(exact.declared, Some(json!("1")));
    let patch = repair::patch([exact.repair.as_ref().unwrap()]);
    let mut patched = scene.object("ConfigMap/web").clone();
    apply(&patch, &mut patched).unwrap();
    assert_eq!(patched["data"]["a"], "1");
    // It is in no document.
    let document = serde_json::to_value(&finding).unwrap();
    assert_eq!(document.get("exact"), None);
    let read: DriftFinding = serde_json::from_value(document).unwrap();
    assert_eq!(read.exact, None);
}

#[test]
fn a_finding_about_a_secret_has_no_whole_values() {
    let mut scene = ReleaseScene::deployed();
    let other = json!({"password": "b3RoZXI="});
    scene.edit("Secret/web", "/data", &other, "kubectl");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Changed);
    assert_eq!(finding.exact, None);
    scene.live.remove("Secret/web");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Missing);
    assert_eq!(finding.exact, None);
}

#[test]
fn a_missing_object_is_declared_as_a_whole() {
    let mut scene = ReleaseScene::deployed();
    scene.live.remove("ConfigMap/web");
    let finding = scene.only();
    let exact = exact(&finding);
    assert_eq!(exact.declared.as_ref().unwrap()["data"]["a"], "1");
    assert_eq!(
        (&exact.live, &exact.repair),
        (&None, &Err(NoRepair::NoObject))
    );
}

#[test]
fn what_the_api_server_rejects_is_not_patched() {
    let mut scene = ReleaseScene::deployed();
    scene.edit(
        WEB,
        "/spec/selector/matchLabels/app",
        &json!("x"),
        "kubectl",
    );
    assert_eq!(exact(&scene.only()).repair, Err(NoRepair::Rejected));
}

#[test]
fn what_nothing_declares_is_not_patched() {
    let mut scene = ReleaseScene::deployed();
    let failed = MANIFEST.replace("a: '1'", "a: '1', leaked: x");
    scene.add(2, RevisionStatus::Failed, &failed);
    scene.object("ConfigMap/web")["data"]["leaked"] = json!("x");
    scene.object("ConfigMap/web")["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:leaked"] =
        json!({});
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Leaked);
    assert_eq!(exact(&finding).repair, Err(NoRepair::Undeclared));
    assert_eq!(exact(&finding).live, Some(json!("x")));
}

#[test]
fn an_object_that_could_not_be_read_has_no_difference() {
    let mut scene = ReleaseScene::deployed();
    let reason = UnreadableReason::Forbidden;
    scene
        .live
        .insert(WEB.to_owned(), SceneObject::Unreadable(reason));
    assert_eq!(scene.only().exact, None);
}
