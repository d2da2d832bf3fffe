use base64::{Engine, prelude::BASE64_STANDARD};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    edit::{Edit, edit},
    removal::{Removal, may_be_helms, removal},
    *,
};
use crate::{guard::request::Request, helm::record::RecordLimits};

/// In Helm's format, but uncompressed, which Helm also reads.
fn body() -> Value {
    json!({
        "name": "web", "namespace": "shop", "version": 3,
        "info": {"status": "deployed", "description": "Upgrade complete", "notes": "Have fun."},
        "chart": {"metadata": {"name": "web", "version": "1.0.0"}},
        "config": {"password": "hunter2", "size": 9_007_199_254_740_993_u64},
        "manifest": "kind: Secret\ndata: {password: hunter2}\n",
        "hooks": [
            {"name": "a", "kind": "Job", "path": "a.yaml", "manifest": "kind: Job", "events": ["test"]},
            {"name": "b", "kind": "Job", "path": "b.yaml", "manifest": "kind: Job", "events": ["test"]},
        ],
    })
}

fn object(driver: Driver, body: &Value) -> Value {
    let inner = BASE64_STANDARD.encode(body.to_string());
    let status = body.pointer("/info/status").cloned().unwrap_or_default();
    let mut object = json!({
        "metadata": {"name": "sh.helm.release.v1.web.v3", "labels":
            {"owner": "helm", "name": "web", "version": "3", "status": status}},
        "data": {"release": inner},
    });
    if driver == Driver::Secret {
        object["type"] = json!("helm.sh/release.v1");
        object["data"]["release"] = json!(BASE64_STANDARD.encode(inner));
    }
    object
}

fn kind(driver: Driver) -> Kind<'static> {
    Kind {
        group: "".into(),
        version: "v1".into(),
        kind: driver.kind().into(),
    }
}

fn stored(driver: Driver, object: &Value) -> Option<StoredRecord> {
    StoredRecord::of(&kind(driver), Raw::of(&object.to_string()))
}

fn edited(driver: Driver, old: &Value, new: &Value) -> Edit {
    let old = stored(driver, old).unwrap();
    edit(&old, stored(driver, new).as_ref(), &RecordLimits::default())
}

/// The result of an edit of the body: the paths that Helm would not have touched.
fn tampered(edit: Edit) -> Vec<String> {
    match edit {
        Edit::Tampering(changes) => changes
            .iter()
            .map(|change| change.path.to_string())
            .collect(),
        Edit::Helms | Edit::Irrelevant => Vec::new(),
        other @ Edit::Unreadable => panic!("{other:?}"),
    }
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    if let Some(place) = value.pointer_mut(pointer) {
        *place = new;
    } else {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = new;
    }
    value
}

#[rstest]
#[case::description("/info/description", json!("Rollback to 1"), None)]
#[case::a_hook_ran("/hooks/0/last_run", json!({"phase": "Succeeded"}), None)]
#[case::a_hook_got_its_default("/hooks/0/delete_policies", json!(["before-hook-creation"]), None)]
#[case::apply_method("/apply_method", json!("ssa"), None)]
#[case::big_number_read_by_go("/config/size", json!(9_007_199_254_740_992_u64), None)]
#[case::manifest("/manifest", json!("kind: Secret\n"), Some(".data.release.manifest"))]
#[case::hook("/hooks/0/manifest", json!("kind: Pod"), Some(".data.release.hooks"))]
#[case::values("/config/password", json!("hunter3"), Some(".data.release.config"))]
#[case::value_added("/config/more", json!(1), Some(".data.release.config"))]
#[case::chart("/chart/metadata/version", json!("1.0.1"), Some(".data.release.chart"))]
#[case::name("/name", json!("other"), Some(".data.release.name"))]
#[case::namespace("/namespace", json!("bank"), Some(".data.release.namespace"))]
#[case::revision("/version", json!(4), Some(".data.release.version"))]
fn helm_changes_the_state_of_a_record_and_nothing_else(
    #[values(Driver::Secret, Driver::ConfigMap)] driver: Driver,
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] path: Option<&str>,
) {
    let new = object(driver, &with(body(), pointer, value));
    let found = tampered(edited(driver, &object(driver, &body()), &new));
    assert_eq!(found, path.into_iter().collect::<Vec<_>>());
}

/// The garbage collector deletes a record whose owner is gone, and one that is being deleted anyway.
#[test]
fn an_owner_reference_is_only_added_to_a_record_that_is_being_deleted() {
    let record = object(Driver::Secret, &body());
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]);
    let owned = with(record.clone(), "/metadata/ownerReferences", owners);
    let found = tampered(edited(Driver::Secret, &record, &owned));
    assert_eq!(found, [".metadata.ownerReferences[uid=1]"]);
    assert!(tampered(edited(Driver::Secret, &owned, &record)).is_empty());
    let at = json!("2026-11-21T03:00:00Z");
    let [leaving, owned] =
        [record, owned].map(|record| with(record, "/metadata/deletionTimestamp", at.clone()));
    assert!(tampered(edited(Driver::Secret, &leaving, &owned)).is_empty());
}

#[test]
fn debug_output_of_a_record_hides_its_content() {
    let record = stored(Driver::Secret, &object(Driver::Secret, &body())).unwrap();
    let shown = format!("{record:?}");
    assert!(shown.contains("sh.helm.release.v1.web.v3"), "{shown}");
    assert!(!shown.contains(record.text.as_deref().unwrap()), "{shown}");
}

#[test]
fn the_order_of_hooks_and_empty_values_is_irrelevant() {
    let mut turned = body();
    turned["hooks"].as_array_mut().unwrap().reverse();
    for (old, new) in [
        (body(), turned),
        (
            with(body(), "/config", Value::Null),
            with(body(), "/config", json!({})),
        ),
    ] {
        let new = with(new, "/info/description", json!("again"));
        let secret = |body| object(Driver::Secret, body);
        assert!(matches!(
            edited(Driver::Secret, &secret(&old), &secret(&new)),
            Edit::Helms
        ));
    }
}

#[rstest]
#[case::finished("pending-upgrade", "deployed", true)]
#[case::failed("pending-install", "failed", true)]
#[case::replaced("deployed", "superseded", true)]
#[case::failed_rollback("failed", "superseded", true)]
#[case::uninstall("deployed", "uninstalling", true)]
#[case::uninstall_of_what_hangs("pending-upgrade", "uninstalling", true)]
#[case::uninstalled("uninstalling", "uninstalled", true)]
#[case::replace("uninstalled", "superseded", true)]
#[case::written_again("deployed", "deployed", true)]
#[case::too_late_to_fail("failed", "deployed", true)]
#[case::freed("deployed", "uninstalled", false)]
#[case::reopened("deployed", "pending-upgrade", false)]
#[case::another_operation("pending-install", "pending-upgrade", false)]
#[case::risen("uninstalled", "deployed", false)]
#[case::no_word_of_helms("deployed", "resting", false)]
fn only_status_transitions_of_helm_are_allowed(
    #[case] from: &str,
    #[case] to: &str,
    #[case] legal: bool,
) {
    let at = |status: &str| {
        let body = with(body(), "/info/status", json!(status));
        object(
            Driver::Secret,
            &with(body, "/info/description", json!(status)),
        )
    };
    let found = tampered(edited(Driver::Secret, &at(from), &at(to)));
    assert_eq!(found.is_empty(), legal, "{found:?}");
}

#[rstest]
#[case::no_record_any_more("/metadata/labels/owner", json!("me"), ".metadata.labels.owner")]
#[case::another_release("/metadata/labels/name", json!("api"), ".metadata.labels.name")]
#[case::another_revision("/metadata/labels/version", json!("9"), ".metadata.labels.version")]
#[case::a_status_of_its_own("/metadata/labels/status", json!("uninstalled"), ".metadata.labels.status")]
#[case::sealed("/immutable", json!(true), ".immutable")]
#[case::emptied("/data/release", json!(""), ".data.release")]
#[case::garbage("/data/release", json!("aHVudGVyMg=="), ".data.release")]
fn the_identity_of_a_record_cannot_change(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] path: &str,
) {
    let old = object(Driver::Secret, &body());
    let new = with(old.clone(), pointer, value);
    assert_eq!(tampered(edited(Driver::Secret, &old, &new)), [path]);
}

#[rstest]
#[case::annotation("/metadata/annotations", json!({"backup": "yes"}))]
#[case::own_label("/metadata/labels/team", json!("checkout"))]
#[case::helms_clock("/metadata/labels/modifiedAt", json!("1795252996"))]
fn fields_next_to_the_record_are_free(#[case] pointer: &str, #[case] value: Value) {
    let old = object(Driver::Secret, &body());
    let new = with(old.clone(), pointer, value);
    assert!(matches!(
        edited(Driver::Secret, &old, &new),
        Edit::Irrelevant
    ));
}

#[test]
fn an_edit_of_an_unreadable_record_is_indeterminate() {
    let old = with(
        object(Driver::Secret, &body()),
        "/data/release",
        json!("????"),
    );
    let new = object(Driver::Secret, &body());
    assert!(matches!(
        edited(Driver::Secret, &old, &new),
        Edit::Unreadable
    ));
}

/// A wrong label that somebody once set does not block Helm forever.
#[test]
fn a_wrong_label_may_stay_or_be_corrected() {
    let wrong = with(
        object(Driver::Secret, &body()),
        "/metadata/labels/status",
        json!("failed"),
    );
    let described = with(body(), "/info/description", json!("again"));
    let right = object(Driver::Secret, &described);
    let still = with(right.clone(), "/metadata/labels/status", json!("failed"));
    for new in [right, still] {
        let found = tampered(edited(Driver::Secret, &wrong, &new));
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn no_value_of_a_record_is_ever_shown() {
    let old = object(Driver::Secret, &body());
    let changed = with(body(), "/config/password", json!("hunter3"));
    let changed = with(changed, "/manifest", json!("data: {password: hunter4}"));
    let new = object(Driver::Secret, &changed);
    let edit = edited(Driver::Secret, &old, &new);
    let shown = format!("{edit:?} {:?}", stored(Driver::Secret, &new));
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(!shown.contains("aHVudGVy"), "{shown}");
}

#[rstest]
#[case::another_type("/type", json!("Opaque"))]
#[case::another_owner("/metadata/labels/owner", json!("me"))]
#[case::another_name("/metadata/name", json!("web"))]
#[case::no_labels("/metadata/labels", Value::Null)]
fn other_objects_are_not_mistaken_for_records(#[case] pointer: &str, #[case] value: Value) {
    let object = with(object(Driver::Secret, &body()), pointer, value);
    assert!(stored(Driver::Secret, &object).is_none());
}

const SUPERSEDED: RevisionStatus = RevisionStatus::Superseded;

#[rstest]
#[case::oldest(&[(1, SUPERSEDED), (2, SUPERSEDED), (3, RevisionStatus::Deployed)], 1, Removal::Pruned)]
#[case::oldest_failed(&[(1, RevisionStatus::Deployed), (2, RevisionStatus::Failed)], 2, Removal::Pruned)]
#[case::deployed(&[(1, SUPERSEDED), (2, RevisionStatus::Deployed)], 2, Removal::Loss)]
#[case::the_only_one(&[(1, RevisionStatus::Deployed)], 1, Removal::Loss)]
#[case::out_of_turn(&[(1, SUPERSEDED), (2, SUPERSEDED), (3, RevisionStatus::Deployed)], 2, Removal::Loss)]
#[case::deployed_under_an_upgrade(
    &[(1, RevisionStatus::Deployed), (2, RevisionStatus::PendingUpgrade)], 1, Removal::Loss
)]
#[case::of_two_deployed_the_older(
    &[(1, RevisionStatus::Deployed), (2, RevisionStatus::Deployed)], 1, Removal::Pruned
)]
#[case::an_install_that_never_ended(&[(1, RevisionStatus::PendingInstall)], 1, Removal::Loss)]
#[case::an_upgrade_that_never_ended(
    &[(1, RevisionStatus::Deployed), (2, RevisionStatus::PendingUpgrade)], 2, Removal::Loss
)]
#[case::one_that_never_ended_long_ago(
    &[(1, RevisionStatus::PendingInstall), (2, SUPERSEDED), (3, RevisionStatus::Deployed)], 1, Removal::Pruned
)]
#[case::uninstalling(&[(1, SUPERSEDED), (2, RevisionStatus::Uninstalling)], 1, Removal::Uninstalled)]
#[case::uninstalled(&[(1, RevisionStatus::Uninstalled)], 1, Removal::Uninstalled)]
#[case::gone(&[(2, RevisionStatus::Deployed)], 1, Removal::Gone)]
#[case::all_gone(&[], 1, Removal::Gone)]
fn helm_deletes_the_oldest_record_or_all(
    #[case] history: &[(u32, RevisionStatus)],
    #[case] revision: u32,
    #[case] expected: Removal,
) {
    assert_eq!(removal(history, revision, true), expected);
}

#[test]
fn a_delete_that_helm_never_sends_is_not_pruning() {
    let history = [(1, SUPERSEDED), (2, RevisionStatus::Deployed)];
    assert_eq!(removal(&history, 1, false), Removal::Loss);
    let uninstalling = [(1, SUPERSEDED), (2, RevisionStatus::Uninstalling)];
    assert_eq!(removal(&uninstalling, 1, false), Removal::Uninstalled);
}

#[rstest]
#[case::helm(json!({"name": "r", "options": {"kind": "DeleteOptions"}}), true)]
#[case::kubectl(json!({"name": "r", "options": {"propagationPolicy": "Background"}}), false)]
#[case::in_a_hurry(json!({"name": "r", "options": {"gracePeriodSeconds": 0}}), false)]
#[case::one_state_of_it(json!({"name": "r", "options": {"preconditions": {"uid": "u"}}}), false)]
#[case::of_a_collection(json!({"options": {}}), false)]
fn helm_deletes_by_name_and_without_options(#[case] request: Value, #[case] expected: bool) {
    let mut request = request;
    request["uid"] = json!("u");
    request["operation"] = json!("DELETE");
    let text = request.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    assert_eq!(may_be_helms(&request), expected);
}

#[test]
fn a_crd_names_its_instances() {
    let definition = json!({"metadata": {"deletionTimestamp": null}, "spec":
        {"group": "example.com", "names": {"kind": "Backup", "plural": "backups"}}});
    let text = definition.to_string();
    assert_eq!(
        Defined::by(Raw::of(&text)),
        Some(Defined {
            group: "example.com".to_owned(),
            kind: "Backup".to_owned(),
            is_cluster_scoped: false,
            version: None,
        })
    );
    let mut whole = definition.clone();
    whole["spec"]["scope"] = json!("Cluster");
    whole["spec"]["versions"] = json!([
        {"name": "v1alpha1", "served": false}, {"name": "v1", "served": true},
    ]);
    let defined = Defined::by(Raw::of(&whole.to_string())).unwrap();
    assert_eq!(defined.version.as_deref(), Some("v1"));
    assert!(defined.is_cluster_scoped);
    assert!(!is_leaving(Raw::of(&text)));
    let leaving = with(
        definition,
        "/metadata/deletionTimestamp",
        json!("2026-11-21T03:00:00Z"),
    );
    assert!(is_leaving(Raw::of(&leaving.to_string())));
    assert_eq!(Defined::by(Raw::of(&json!({}).to_string())), None);
}
