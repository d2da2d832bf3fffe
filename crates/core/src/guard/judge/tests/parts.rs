//! Which violations are dropped, and the verdicts where no comparison is possible.

use super::*;
use crate::compare::schema::builtin::builtin;

const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const HPA: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

fn settled(release: &str, object: &Value) -> Claim {
    claim(release, Phase::Settled, vec![declared(object)])
}

fn pending(release: &str, object: &Value) -> Claim {
    claim(release, Phase::Pending, vec![declared(object)])
}

fn declared(value: &Value) -> RevisionObject {
    object("v1", value)
}

fn as_user(user: &str, mut review: Value) -> Value {
    review["userInfo"]["username"] = json!(user);
    review
}

fn scale(user: &str, from: u32, to: u32) -> Value {
    let mut review = review("UPDATE", &replicas(from), &replicas(to));
    review["subResource"] = json!("scale");
    as_user(user, review)
}

/// Reason and paths of an UPDATE of an object whose kind is built in; if two releases object to one
/// path, it is listed once.
fn changed(
    kind: (&str, &str),
    claims: &[Claim],
    old: &Value,
    new: &Value,
) -> (Reason, Vec<String>) {
    let shape = builtin().lookup(kind.0, "v1", kind.1).unwrap();
    let knowledge = Knowledge::Builtin(shape);
    let verdict = verdict_of(&review("UPDATE", old, new), claims, knowledge);
    let mut paths = paths_of(&verdict);
    paths.dedup();
    (verdict.reason, paths)
}

fn paths_of(verdict: &Verdict) -> Vec<String> {
    let changes = verdict.findings.iter().flat_map(|finding| &finding.changes);
    changes.map(|change| change.path.to_string()).collect()
}

fn violation(path: &str) -> (Reason, Vec<String>) {
    (Reason::FieldsChanged, vec![path.to_owned()])
}

fn passes() -> (Reason, Vec<String>) {
    (Reason::NothingDeclaredChanges, Vec::new())
}

#[test]
fn each_changed_field_is_named() {
    let object =
        |ready: u32, count: u32| json!({"spec": {"minReadySeconds": ready, "replicas": count}});
    let claims = [settled("web", &object(1, 3))];
    let request = review("UPDATE", &object(1, 3), &object(2, 5));
    let verdict = verdict_of(&request, &claims, Knowledge::Builtin(Shape::plain()));
    assert_eq!(
        paths_of(&verdict),
        [".spec.minReadySeconds", ".spec.replicas"]
    );
}

/// The empty object may be an empty map, which the API server drops.
#[test]
fn a_removed_empty_object_of_unknown_type_is_indeterminate() {
    let claims = [settled("web", &json!({"spec": {"a": {}}}))];
    let request = review("UPDATE", &json!({"spec": {"a": {}}}), &json!({"spec": {}}));
    let reason = |knowledge| verdict_of(&request, &claims, knowledge).reason;
    assert_eq!(reason(Knowledge::Unavailable), Reason::SchemaUnavailable);
    assert_eq!(
        reason(Knowledge::Builtin(Shape::plain())),
        Reason::FieldsChanged
    );
}

const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");

#[test]
fn with_an_unreadable_record_only_undeclared_metadata_and_status_are_free() {
    let claims = [claim(
        "web",
        Phase::Settled,
        vec![RevisionObject::Unreadable],
    )];
    let old = json!({"metadata": {"a": 1}, "spec": {"a": 1}, "status": {"a": 1}});
    let cases = [
        (
            json!({"metadata": {"a": 2}, "spec": {"a": 1}, "status": {"a": 1}}),
            true,
        ),
        (
            json!({"metadata": {"a": 1}, "spec": {"a": 1}, "status": {"a": 2}}),
            true,
        ),
        (json!({"spec": {"a": 1}}), true),
        (
            json!({"metadata": {"a": 1}, "spec": {"a": 2}, "status": {"a": 1}}),
            false,
        ),
        (json!({"metadata": {"a": 1}, "status": {"a": 1}}), false),
        (
            json!({"metadata": {"a": 1}, "spec": {"a": 1}, "data": {}}),
            false,
        ),
        (json!([]), false),
    ];
    for (new, free) in cases {
        let expected = if free {
            Reason::NothingDeclaredChanges
        } else {
            Reason::RecordUnreadable
        };
        let reason = verdict(&review("UPDATE", &old, &new), &claims);
        assert_eq!(reason, expected, "{new}");
    }
}

#[test]
fn every_readable_record_is_compared() {
    let newest = [claim(
        "web",
        Phase::Pending,
        vec![RevisionObject::Unreadable, declares(3)],
    )];
    let oldest = [claim(
        "web",
        Phase::Pending,
        vec![declares(3), RevisionObject::Unreadable],
    )];
    for claims in [&newest, &oldest] {
        assert_eq!(update(claims, 3, 4), Reason::RecordUnreadable);
        assert_eq!(update(claims, 4, 3), Reason::NothingDeclaredChanges);
        let scaled = |to| verdict(&scale("alice", 4, to), claims);
        assert_eq!(scaled(5), Reason::RecordUnreadable);
        assert_eq!(scaled(3), Reason::NothingDeclaredChanges);
    }
    let neither = [claim(
        "web",
        Phase::Pending,
        vec![RevisionObject::Unreadable, RevisionObject::Unreadable],
    )];
    assert_eq!(update(&neither, 3, 4), Reason::RecordUnreadable);
    let scaled = verdict(&scale("alice", 3, 4), &neither);
    assert_eq!(scaled, Reason::RecordUnreadable);
}

#[test]
fn after_a_failure_fields_of_one_revision_may_be_removed_but_not_changed() {
    for helds in [
        [RevisionObject::Absent, declares(3)],
        [declares(3), RevisionObject::Absent],
    ] {
        let claims = [claim("web", Phase::Failed, helds.into())];
        assert_eq!(update(&claims, 3, 4), Reason::FieldsChanged);
        let without = review("UPDATE", &replicas(3), &json!({"spec": {}}));
        assert_eq!(verdict(&without, &claims), Reason::NothingDeclaredChanges);
        assert_eq!(
            verdict(&scale("alice", 3, 4), &claims),
            Reason::FieldsChanged
        );
    }
}

#[test]
fn while_helm_may_be_at_work_an_object_that_one_manifest_lacks_may_be_scaled() {
    let claims = [claim(
        "web",
        Phase::Pending,
        vec![declares(5), RevisionObject::Absent],
    )];
    let scaled = verdict(&scale("alice", 3, 4), &claims);
    assert_eq!(scaled, Reason::NothingDeclaredChanges);
}

#[test]
fn replicas_that_are_not_declared_may_be_scaled() {
    let claims = [settled("web", &json!({"spec": {"paused": true}}))];
    let scaled = verdict(&scale("alice", 3, 4), &claims);
    assert_eq!(scaled, Reason::NothingDeclaredChanges);
}

#[test]
fn replicas_that_another_release_declares_may_be_scaled_to() {
    let claims = [settled("a", &replicas(3)), pending("b", &replicas(5))];
    assert_eq!(
        verdict(&scale("alice", 3, 5), &claims),
        Reason::NothingDeclaredChanges
    );
    assert_eq!(
        verdict(&scale("alice", 3, 4), &claims),
        Reason::FieldsChanged
    );
}

#[test]
fn an_autoscaler_is_exempt_even_if_a_record_is_unreadable() {
    let claims = [claim(
        "web",
        Phase::Pending,
        vec![declares(3), RevisionObject::Unreadable],
    )];
    assert_eq!(verdict(&scale(HPA, 3, 4), &claims), Reason::Exempt);
    assert_eq!(
        verdict(&scale(HPA, 4, 3), &claims),
        Reason::NothingDeclaredChanges
    );
}

#[test]
fn in_another_version_a_violation_names_metadata_only() {
    let with = |label: &str, replicas: u32| json!({"metadata": {"labels": {"a": label}}, "spec": {"replicas": replicas}});
    let claims = [claim(
        "web",
        Phase::Settled,
        vec![object("v1beta1", &with("1", 3))],
    )];
    let judge = |new: &Value| changed(DEPLOYMENT, &claims, &with("1", 3), new);
    assert_eq!(judge(&with("2", 4)), violation(".metadata.labels.a"));
    assert_eq!(judge(&with("1", 4)), (Reason::VersionDiffers, Vec::new()));
    let mut unknown = with("1", 3);
    unknown["spec"]["paused"] = json!(true);
    assert_eq!(judge(&unknown), (Reason::VersionDiffers, Vec::new()));
}

#[test]
fn an_exemption_covers_its_own_field_and_no_other() {
    let live = |owners: Value, replicas: u32| json!({"metadata": {"ownerReferences": owners}, "spec": {"replicas": replicas}});
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]);
    let old = live(owner, 3);
    let claims = [settled("web", &old)];
    let judge = |user: &str, new: &Value| {
        let review = as_user(user, review("UPDATE", &old, new));
        verdict_of(&review, &claims, Knowledge::Builtin(Shape::plain()))
    };
    let exempt = judge(COLLECTOR, &live(Value::Null, 3));
    assert_eq!(exempt.reason, Reason::Exempt);
    assert_eq!(exempt.exemption.as_deref(), Some("garbage-collector"));
    let more = judge(COLLECTOR, &live(Value::Null, 4));
    assert_eq!(more.reason, Reason::FieldsChanged);
    assert_eq!(paths_of(&more), [".spec.replicas"]);
    let other = judge("alice", &live(Value::Null, 3));
    assert_eq!(other.reason, Reason::FieldsChanged);
}

/// Scenario 51.
#[test]
fn an_object_that_is_being_deleted_may_lose_finalizers_only() {
    let stamp = json!("2026-01-01T00:00:00Z");
    let declared = json!({
        "metadata": {"finalizers": ["x/y"], "labels": {"a": "1"}},
        "spec": {"finalizers": ["kubernetes"]},
    });
    let claims = [settled("web", &declared)];
    let mut dying = declared.clone();
    dying["metadata"]["deletionTimestamp"] = stamp.clone();
    let judge = |old: &Value, path: &str, value: Value| {
        let mut new = old.clone();
        *new.pointer_mut(path).unwrap() = value;
        verdict(&review("UPDATE", old, &new), &claims)
    };
    let finalizers = "/metadata/finalizers";
    assert_eq!(
        judge(&dying, finalizers, Value::Null),
        Reason::NothingDeclaredChanges
    );
    assert_eq!(
        judge(&dying, finalizers, json!(["z"])),
        Reason::FieldsChanged
    );
    assert_eq!(
        judge(&dying, "/metadata/labels", Value::Null),
        Reason::FieldsChanged
    );
    assert_eq!(
        judge(&dying, "/spec/finalizers", Value::Null),
        Reason::FieldsChanged
    );
    assert_eq!(
        judge(&declared, finalizers, Value::Null),
        Reason::FieldsChanged
    );
    let mut claimed = json!({"metadata": {"deletionTimestamp": stamp, "labels": {"a": "1"}}});
    claimed["spec"] = declared["spec"].clone();
    let only_new = verdict(&review("UPDATE", &declared, &claimed), &claims);
    assert_eq!(
        only_new,
        Reason::FieldsChanged,
        "the request itself says so"
    );
}

#[test]
fn without_the_schema_violations_outside_of_lists_are_still_named() {
    let declared = json!({"spec": {"items": [{"name": "a"}], "size": 1}});
    let claims = [settled("web", &declared)];
    let new = json!({"spec": {"items": [{"name": "a"}, {"name": "b"}], "size": 2}});
    let review = review("UPDATE", &declared, &new);
    let verdict = verdict_of(&review, &claims, Knowledge::Unavailable);
    assert_eq!(verdict.reason, Reason::FieldsChanged);
    assert_eq!(paths_of(&verdict), [".spec.size"]);
}

#[test]
fn a_value_of_another_release_is_found_by_position_member_and_key() {
    let pod =
        |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let web =
        |image: &str, args: [&str; 2]| pod(json!([{"name": "web", "image": image, "args": args}]));
    let theirs = pod(json!([
        {"name": "mesh", "image": "m"},
        {"name": "web", "image": "web:2", "args": ["--level", "2"]},
    ]));
    let old = web("web:1", ["--level", "1"]);
    let claims = [settled("a", &old), settled("b", &theirs)];
    let judge = |new: Value| changed(DEPLOYMENT, &claims, &old, &new);
    let container = ".spec.template.spec.containers[name=web]";
    assert_eq!(judge(web("web:2", ["--level", "1"])), passes());
    assert_eq!(judge(web("web:1", ["--level", "2"])), passes());
    assert_eq!(
        judge(web("m", ["--level", "1"])),
        violation(&format!("{container}.image"))
    );
    assert_eq!(
        judge(web("web:1", ["--level", "3"])),
        violation(&format!("{container}.args[1]"))
    );
}

#[test]
fn an_item_of_another_release_is_the_one_with_all_its_keys() {
    let service = |ports: Value| json!({"spec": {"ports": ports}});
    let udp = |node: u32| service(json!([{"port": 80, "protocol": "UDP", "nodePort": node}]));
    let theirs = service(json!([
        {"port": 80, "nodePort": 30_003},
        {"port": 80, "protocol": "UDP", "nodePort": 30_002},
    ]));
    let claims = [settled("a", &udp(30_001)), settled("b", &theirs)];
    let judge = |new: &Value| changed(("", "Service"), &claims, &udp(30_001), new);
    assert_eq!(judge(&udp(30_002)), passes());
    let path = ".spec.ports[port=80,protocol=UDP].nodePort";
    assert_eq!(
        judge(&udp(30_003)),
        violation(path),
        "declared, but for TCP"
    );
}

#[test]
fn a_release_that_takes_over_may_remove_fields_that_it_does_not_declare() {
    let live = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let (old, new) = (live(json!(["x/y", "z"])), live(json!(["z"])));
    let judge = |other: Claim, new: &Value| {
        let claims = [settled("a", &live(json!(["x/y"]))), other];
        changed(DEPLOYMENT, &claims, &old, new).0
    };
    let taken = Reason::NothingDeclaredChanges;
    assert_eq!(judge(pending("b", &live(json!(["z"]))), &new), taken);
    assert_eq!(judge(pending("b", &replicas(3)), &new), taken);
    let kept = Reason::FieldsChanged;
    assert_eq!(judge(settled("b", &live(json!(["z"]))), &new), kept);
    assert_eq!(judge(pending("b", &live(json!(["z", "x/y"]))), &new), kept);

    let claims = [
        settled("a", &replicas(3)),
        pending("b", &json!({"spec": {}})),
    ];
    assert_eq!(update(&claims, 3, 4), kept, "changed, not taken away");
}

#[test]
fn a_verdict_has_the_strictest_mode_of_its_findings() {
    let claims = [settled("a", &replicas(3)), settled("b", &replicas(3))];
    let review = review("UPDATE", &replicas(3), &replicas(4));
    let mut verdict = verdict_of(&review, &claims, Knowledge::Builtin(Shape::plain()));
    assert_eq!(verdict.mode(), Some(Mode::Deny));
    verdict.findings[0].mode = Mode::Audit;
    verdict.findings[1].mode = Mode::Warn;
    assert_eq!(verdict.mode(), Some(Mode::Warn));
    assert_eq!(Verdict::because(Reason::Unchanged).mode(), None);
}

#[test]
fn an_object_missing_from_one_manifest_is_free_even_if_the_other_is_unreadable() {
    let claims = [claim(
        "web",
        Phase::Pending,
        vec![RevisionObject::Unreadable, RevisionObject::Absent],
    )];
    assert_eq!(update(&claims, 3, 4), Reason::NothingDeclaredChanges);
}

#[test]
fn a_claim_knows_its_newest_revision() {
    let claim = claim(
        "web",
        Phase::Pending,
        vec![declares(5), RevisionObject::Absent, declares(3)],
    );
    assert_eq!(claim.newest(), 3);
}
