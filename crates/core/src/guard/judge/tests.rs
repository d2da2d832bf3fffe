//! The decision of each kind of request, with hand-made claims.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Value, json};

mod deputies;
mod ownership;
mod parts;
mod selectors;
mod undeclared;

use super::*;
use crate::{
    api::Mode,
    compare::{
        path::FieldPath,
        redact::{Redactor, ShownValue},
        schema::Shape,
    },
    guard::{
        ConversionTargets, FieldChange, HELM_WRITERS, Knowledge, ObjectRef, Reach, RecordsAt,
        Request, RevisionClaim, RevisionObject, in_flight, screen, subject,
    },
    helm::{ReleaseName, identity::DeclaredObject, lifecycle::Phase, storage::Driver},
    policy::{Labels, Policy, license::Facts},
};

fn object(version: &str, value: &Value) -> RevisionObject {
    RevisionObject::Declared(Arc::new(DeclaredObject {
        group: "apps".into(),
        version: version.into(),
        kind: "Deployment".into(),
        namespace: None,
        name: "web".into(),
        source: None,
        line: 1,
        keep: false,
        json: value.to_string().into(),
    }))
}

fn claim(release: &str, phase: Phase, helds: Vec<RevisionObject>) -> Claim {
    let newest = u32::try_from(helds.len()).unwrap();
    Claim {
        release: Arc::new(ReleaseName {
            namespace: "shop".into(),
            name: release.into(),
        }),
        records: RecordsAt {
            driver: Driver::Secret,
            namespace: "shop".into(),
        },
        reach: Reach::Own,
        chart: "web-1.0.0".into(),
        phase,
        uninstalling_since: None,
        apply_method: crate::helm::record::ApplyMethod::default(),
        hook_accounts: Arc::default(),
        revisions: helds
            .into_iter()
            .zip((1..=newest).rev())
            .map(|(held, revision)| RevisionClaim { revision, held })
            .collect(),
    }
}

/// Scenario 28, tightened.
#[rstest::rstest]
#[case::a_moment_ago(Phase::Uninstalling, Some("2026-11-21T02:30:00Z"), Phase::Uninstalling)]
#[case::yesterday(Phase::Uninstalling, Some("2026-11-20T03:00:00Z"), Phase::Failed)]
#[case::in_the_future(Phase::Uninstalling, Some("2026-11-22T03:00:00Z"), Phase::Uninstalling)]
#[case::nobody_knows(Phase::Uninstalling, None, Phase::Uninstalling)]
#[case::not_under_way(Phase::Pending, Some("2026-11-20T03:00:00Z"), Phase::Pending)]
fn a_stuck_uninstallation_is_treated_as_failed(
    #[case] phase: Phase,
    #[case] since: Option<&str>,
    #[case] expected: Phase,
) {
    let mut claim = claim("web", phase, vec![RevisionObject::Absent]);
    claim.uninstalling_since = since.map(|since| since.parse().unwrap());
    let now = "2026-11-21T03:00:00Z".parse().unwrap();
    claim.give_up_uninstalling(jiff::SignedDuration::from_hours(1), now);
    assert_eq!(claim.phase, expected);
}

fn replicas(count: u32) -> Value {
    json!({"spec": {"replicas": count}})
}

fn declares(count: u32) -> RevisionObject {
    object("v1", &replicas(count))
}

/// An UPDATE from `old` to `new`, or a DELETE of `old`.
fn review(operation: &str, old: &Value, new: &Value) -> Value {
    json!({
        "uid": "1", "operation": operation, "name": "web", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "alice"},
        "oldObject": old, "object": new,
    })
}

fn verdict_of(review: &Value, claims: &[Claim], knowledge: Knowledge<'_>) -> Verdict {
    verdict_in(review, claims, knowledge, ConversionTargets::Versions(&[]))
}

fn verdict_in(
    review: &Value,
    claims: &[Claim],
    knowledge: Knowledge<'_>,
    conversions: ConversionTargets<'_>,
) -> Verdict {
    let policy = Policy::default();
    verdict_given(
        review,
        claims,
        knowledge,
        conversions,
        (&policy, Facts::default()),
    )
}

fn verdict_given(
    review: &Value,
    claims: &[Claim],
    knowledge: Knowledge<'_>,
    conversions: ConversionTargets<'_>,
    (policy, facts): (&Policy, Facts<'_>),
) -> Verdict {
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    if let Some(reason) = screen(&request) {
        return Verdict::because(reason);
    }
    assert!(subject(&request).is_ok());
    let object = ObjectRef {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        name: Cow::Borrowed("web"),
    };
    judge(&Question {
        request: &request,
        object: &object,
        claims,
        knowledge,
        conversions,
        replicas_path: &["spec", "replicas"],
        policy,
        labels: Labels::Unknown,
        facts,
        redactor: &Redactor::new(b"key"),
    })
}

fn verdict(review: &Value, claims: &[Claim]) -> Reason {
    verdict_of(review, claims, Knowledge::Builtin(Shape::plain())).reason
}

fn update(claims: &[Claim], old: u32, new: u32) -> Reason {
    verdict(&review("UPDATE", &replicas(old), &replicas(new)), claims)
}

fn delete(claims: &[Claim]) -> Reason {
    verdict(&review("DELETE", &replicas(3), &Value::Null), claims)
}

#[test]
fn undeclared_object_is_allowed() {
    assert_eq!(update(&[], 3, 5), Reason::NotDeclared);
    assert_eq!(delete(&[]), Reason::NotDeclared);
}

#[test]
fn a_finding_names_release_revision_and_values() {
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    let review = review("UPDATE", &replicas(3), &replicas(5));
    let verdict = verdict_of(&review, &claims, Knowledge::Builtin(Shape::plain()));
    assert_eq!(verdict.reason, Reason::FieldsChanged);
    let finding = &verdict.findings[0];
    assert_eq!(
        (finding.release.name.as_str(), &finding.revisions[..]),
        ("web", &[1][..])
    );
    let change = &finding.changes[0];
    assert_eq!(
        format!(
            "{}: {} {} {}",
            change.path, change.declared, change.live, change.requested
        ),
        ".spec.replicas: 3 3 5"
    );
}

/// Scenarios 20, 22, 25, 27, 28, 50.
#[test]
fn a_delete_is_a_violation_when_every_active_revision_holds_the_object() {
    let cases = [
        (Phase::Settled, vec![declares(3)], Reason::ObjectDeleted),
        (
            Phase::Pending,
            vec![declares(3), declares(3)],
            Reason::ObjectDeleted,
        ),
        (
            Phase::Pending,
            vec![RevisionObject::Absent, declares(3)],
            Reason::NotDeclared,
        ),
        (
            Phase::Failed,
            vec![declares(3), RevisionObject::Absent],
            Reason::NotDeclared,
        ),
        (
            Phase::Failed,
            vec![declares(3), declares(3)],
            Reason::ObjectDeleted,
        ),
        (Phase::Uninstalling, vec![declares(3)], Reason::Uninstalling),
        (
            Phase::Pending,
            vec![declares(3), RevisionObject::Unreadable],
            Reason::RecordUnreadable,
        ),
        (
            Phase::Pending,
            vec![RevisionObject::Absent, RevisionObject::Unreadable],
            Reason::NotDeclared,
        ),
    ];
    for (phase, helds, expected) in cases {
        let case = format!("{phase:?} {helds:?}");
        assert_eq!(delete(&[claim("web", phase, helds)]), expected, "{case}");
    }
}

/// Scenarios 16, 21, 23, 25.
#[test]
fn an_update_may_follow_any_active_revision() {
    let both = || vec![declares(5), declares(3)];
    for (phase, old, new, expected) in [
        (Phase::Pending, 3, 5, Reason::NothingDeclaredChanges),
        (Phase::Pending, 5, 3, Reason::NothingDeclaredChanges),
        (Phase::Pending, 3, 4, Reason::FieldsChanged),
        (Phase::Failed, 3, 5, Reason::NothingDeclaredChanges),
        (Phase::Failed, 3, 4, Reason::FieldsChanged),
    ] {
        let claims = [claim("web", phase, both())];
        assert_eq!(
            update(&claims, old, new),
            expected,
            "{phase:?} {old} to {new}"
        );
    }
    let new_object = [claim(
        "web",
        Phase::Pending,
        vec![declares(5), RevisionObject::Absent],
    )];
    assert_eq!(update(&new_object, 3, 4), Reason::NothingDeclaredChanges);
    let after_failure = [claim(
        "web",
        Phase::Failed,
        vec![declares(5), RevisionObject::Absent],
    )];
    assert_eq!(update(&after_failure, 5, 4), Reason::FieldsChanged);
}

#[test]
fn an_unreadable_revision_denies_nothing_and_is_reported() {
    let claims = [claim(
        "web",
        Phase::Pending,
        vec![declares(5), RevisionObject::Unreadable],
    )];
    assert_eq!(update(&claims, 3, 4), Reason::RecordUnreadable);
    assert_eq!(update(&claims, 3, 5), Reason::NothingDeclaredChanges);
}

/// Scenario 35: without `--take-ownership` by a pending release, nobody moves an object over.
#[test]
fn a_value_that_another_claiming_release_declares_is_legitimate() {
    let a = || claim("a", Phase::Settled, vec![declares(3)]);
    assert_eq!(update(&[a()], 3, 5), Reason::FieldsChanged);
    let b = claim("b", Phase::Pending, vec![declares(5)]);
    assert_eq!(
        update(&[a(), b.clone()], 3, 5),
        Reason::NothingDeclaredChanges
    );
    assert_eq!(update(&[a(), b], 3, 4), Reason::FieldsChanged);
}

/// Scenario 36: a drops the object from its chart; b still declares it (helm#32218).
#[test]
fn a_release_that_drops_an_object_cannot_delete_it_from_another() {
    let a = claim(
        "a",
        Phase::Pending,
        vec![RevisionObject::Absent, declares(3)],
    );
    let b = claim("b", Phase::Settled, vec![declares(3)]);
    assert_eq!(delete(std::slice::from_ref(&a)), Reason::NotDeclared);
    assert_eq!(delete(&[a, b]), Reason::ObjectDeleted);
}

/// Scenario 10.
#[test]
fn labels_are_compared_across_api_versions_but_fields_are_not() {
    let declared = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 3}});
    let claims = [claim(
        "web",
        Phase::Settled,
        vec![object("v1beta1", &declared)],
    )];
    let with = |label: &str, replicas: u32| json!({"metadata": {"labels": {"a": label}}, "spec": {"replicas": replicas}});
    let judge = |new: &Value| verdict(&review("UPDATE", &with("1", 3), new), &claims);
    assert_eq!(judge(&with("1", 4)), Reason::VersionDiffers);
    assert_eq!(judge(&with("2", 3)), Reason::FieldsChanged);
    let annotated = json!({"metadata": {"labels": {"a": "1"}, "annotations": {"x": "y"}}, "spec": {"replicas": 3}});
    assert_eq!(judge(&annotated), Reason::NothingDeclaredChanges);
    assert_eq!(delete(&claims), Reason::ObjectDeleted);
}

#[test]
fn a_claim_is_evaluated_in_the_call_with_its_manifests_version() {
    let beta = || object("v1beta1", &replicas(3));
    let gamma = || object("v1gamma1", &replicas(3));
    let one = [claim("web", Phase::Settled, vec![beta()])];
    let other = [claim("web", Phase::Settled, vec![gamma()])];
    let both = [
        claim("a", Phase::Settled, vec![beta()]),
        claim("b", Phase::Settled, vec![declares(3)]),
    ];
    // The newest manifest that has the object counts.
    let let_go = [claim(
        "web",
        Phase::Failed,
        vec![RevisionObject::Absent, beta()],
    )];
    let upgraded = [claim("web", Phase::Pending, vec![declares(3), beta()])];
    let own = [Box::from("v1beta1")];
    let only_requested = ConversionTargets::Versions(&[]);
    let requested = ConversionTargets::Versions(&own);
    let pinned = ConversionTargets::AllOthers;
    let cases = [
        (
            "unregistered",
            &one[..],
            "v1",
            only_requested,
            Reason::VersionDiffers,
        ),
        (
            "deferred",
            &one,
            "v1",
            requested,
            Reason::JudgedInDeclaredVersion,
        ),
        ("converted", &one, "v1beta1", pinned, Reason::FieldsChanged),
        (
            "another pin",
            &one,
            "v1gamma1",
            pinned,
            Reason::JudgedInDeclaredVersion,
        ),
        (
            "not pinned",
            &other,
            "v1",
            requested,
            Reason::VersionDiffers,
        ),
        (
            "two releases, requested",
            &both,
            "v1",
            requested,
            Reason::FieldsChanged,
        ),
        (
            "two releases, converted",
            &both,
            "v1beta1",
            pinned,
            Reason::FieldsChanged,
        ),
        (
            "let go",
            &let_go,
            "v1",
            requested,
            Reason::JudgedInDeclaredVersion,
        ),
        (
            "upgrade, new version",
            &upgraded,
            "v1",
            requested,
            Reason::VersionDiffers,
        ),
        (
            "upgrade, old version",
            &upgraded,
            "v1beta1",
            pinned,
            Reason::JudgedInDeclaredVersion,
        ),
    ];
    for (name, claims, version, conversions, expected) in cases {
        let mut review = review("UPDATE", &replicas(3), &replicas(5));
        review["kind"]["version"] = json!(version);
        let knowledge = Knowledge::Builtin(Shape::plain());
        let verdict = verdict_in(&review, claims, knowledge, conversions);
        assert_eq!(verdict.reason, expected, "{name}");
    }
}

/// Scenario 51, and CVE-2023-34091 of Kyverno.
#[test]
fn only_finalizers_may_be_removed_from_an_object_that_is_being_deleted() {
    let declared = json!({"metadata": {"finalizers": ["x/y"]}, "spec": {"replicas": 3}});
    let claims = [claim("web", Phase::Settled, vec![object("v1", &declared)])];
    let live = |deleting: bool, finalizers: &Value, replicas: u32| {
        let stamp = if deleting {
            json!("2026-01-01T00:00:00Z")
        } else {
            Value::Null
        };
        json!({
            "metadata": {"deletionTimestamp": stamp, "finalizers": finalizers},
            "spec": {"replicas": replicas},
        })
    };
    let judge = |deleting, finalizers: Value, replicas| {
        let old = live(deleting, &json!(["x/y"]), 3);
        verdict(
            &review("UPDATE", &old, &live(deleting, &finalizers, replicas)),
            &claims,
        )
    };
    assert_eq!(judge(true, Value::Null, 3), Reason::NothingDeclaredChanges);
    assert_eq!(judge(true, Value::Null, 4), Reason::FieldsChanged);
    assert_eq!(judge(false, Value::Null, 3), Reason::FieldsChanged);
}

#[test]
fn without_the_schema_no_change_of_a_list_is_denied() {
    let declared = json!({"spec": {"items": [{"name": "a"}], "size": 1}});
    let claims = [claim("web", Phase::Settled, vec![object("v1", &declared)])];
    let judge = |new: &Value, knowledge| {
        verdict_of(&review("UPDATE", &declared, new), &claims, knowledge).reason
    };
    let longer = json!({"spec": {"items": [{"name": "a"}, {"name": "b"}], "size": 1}});
    let bigger = json!({"spec": {"items": [{"name": "a"}], "size": 2}});
    assert_eq!(
        judge(&longer, Knowledge::Unavailable),
        Reason::SchemaUnavailable
    );
    assert_eq!(
        judge(&longer, Knowledge::Custom(Shape::plain())),
        Reason::FieldsChanged
    );
    assert_eq!(
        judge(&bigger, Knowledge::Unavailable),
        Reason::FieldsChanged
    );
}

/// Scenarios 53 and 62.
#[test]
fn scaling_is_an_update_of_the_parents_replicas() {
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    let scale = |user: &str, new: Value| {
        let mut review = review("UPDATE", &replicas(3), &new);
        review["subResource"] = json!("scale");
        review["kind"] = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        review["userInfo"]["username"] = json!(user);
        verdict_of(&review, &claims, Knowledge::Builtin(Shape::plain()))
    };
    let hpa = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    assert_eq!(scale("alice", replicas(4)).reason, Reason::FieldsChanged);
    assert_eq!(scale("alice", replicas(3)).reason, Reason::Unchanged);
    let exempt = scale(hpa, replicas(4));
    assert_eq!(exempt.reason, Reason::Exempt);
    assert_eq!(
        exempt.exemption.as_deref(),
        Some("horizontal-pod-autoscaler")
    );
    // Scale.spec.replicas is left out when it is 0.
    let to_zero = scale("alice", json!({"spec": {}}));
    assert_eq!(to_zero.findings[0].changes[0].requested.to_string(), "0");
    assert_eq!(
        to_zero.findings[0].changes[0].path.to_string(),
        ".spec.replicas"
    );
}

#[test]
fn irrelevant_requests_are_answered_before_anything_is_parsed() {
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    for operation in ["CREATE", "CONNECT", "FROBNICATE"] {
        let review = review(operation, &Value::Null, &replicas(1));
        assert_eq!(verdict(&review, &claims), Reason::NotJudged, "{operation}");
    }
    let mut proxy = review("UPDATE", &replicas(3), &replicas(4));
    proxy["subResource"] = json!("proxy");
    assert_eq!(verdict(&proxy, &claims), Reason::NotJudged);
    assert_eq!(
        verdict(&review("UPDATE", &Value::Null, &Value::Null), &claims),
        Reason::ObjectUnreadable
    );
}

fn written_through(subresource: &str, old: &Value, new: &Value) -> Value {
    let mut review = review("UPDATE", old, new);
    review["subResource"] = json!(subresource);
    review
}

fn marked(label: Option<&str>, replicas: u32) -> Value {
    json!({
        "metadata": {"labels": {"app.kubernetes.io/managed-by": label, "team": "shop"}},
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas},
    })
}

fn declares_marked() -> RevisionObject {
    object("v1", &marked(Some("Helm"), 3))
}

#[rstest::rstest]
#[case::status("status", Reason::NothingDeclaredChanges)]
#[case::approval("approval", Reason::NothingDeclaredChanges)]
#[case::finalize("finalize", Reason::NothingDeclaredChanges)]
#[case::resize("resize", Reason::FieldsChanged)]
#[case::ephemeral_containers("ephemeralcontainers", Reason::FieldsChanged)]
fn a_subresource_write_is_evaluated_by_the_fields_that_the_api_server_stores(
    #[case] subresource: &str,
    #[case] of_spec: Reason,
) {
    let claims = [claim("web", Phase::Settled, vec![declares_marked()])];
    let write = |new: &Value| {
        let review = written_through(subresource, &marked(Some("Helm"), 3), new);
        verdict(&review, &claims)
    };
    assert_eq!(write(&marked(Some("Helm"), 4)), of_spec);
    assert_eq!(write(&marked(None, 3)), Reason::FieldsChanged);
    assert_eq!(write(&marked(Some("me"), 3)), Reason::FieldsChanged);
}

/// No other call is made for a subresource, whichever versions are registered.
#[test]
fn a_status_write_in_another_version_is_evaluated_in_its_only_call() {
    let claims = [claim("web", Phase::Settled, vec![declares_marked()])];
    let mut review = written_through("status", &marked(Some("Helm"), 3), &marked(None, 3));
    review["kind"]["version"] = json!("v2");
    let versions = [Box::from("v1")];
    let knowledge = Knowledge::Builtin(Shape::plain());
    let verdict = verdict_in(
        &review,
        &claims,
        knowledge,
        ConversionTargets::Versions(&versions),
    );
    assert_eq!(verdict.reason, Reason::FieldsChanged);
}

/// Scenario 50: the API server names no object when it deletes a collection.
#[test]
fn each_object_of_a_deleted_collection_is_found_by_its_old_object() {
    let mut review = review(
        "DELETE",
        &json!({"metadata": {"name": "web"}}),
        &Value::Null,
    );
    review["name"] = json!("");
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let Ok(crate::guard::RequestSubject::Object(object)) = subject(&request) else {
        panic!("the request is about an object");
    };
    assert_eq!((object.name.as_ref(), object.namespace), ("web", "shop"));
}

#[test]
fn a_namespace_is_cluster_scoped_though_its_request_names_it_as_its_namespace() {
    let text = json!({
        "uid": "1", "operation": "DELETE", "name": "shop", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Namespace"},
        "oldObject": {"metadata": {"name": "shop"}},
    })
    .to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let Ok(crate::guard::RequestSubject::Object(object)) = subject(&request) else {
        panic!("the request is about an object");
    };
    assert_eq!((object.name.as_ref(), object.namespace), ("shop", ""));
}

#[test]
fn a_field_manager_counts_only_while_its_release_is_pending() {
    let request = |manager: &str| {
        let mut review = review("UPDATE", &replicas(3), &replicas(4));
        review["options"] = json!({"fieldManager": manager});
        review.to_string()
    };
    let pending = [claim("web", Phase::Pending, vec![declares(3)])];
    let settled = [claim("web", Phase::Settled, vec![declares(3)])];
    for (manager, claims, expected) in [
        ("helm", &pending, true),
        ("helm-controller", &pending, true),
        ("terraform-provider-helm_v2.17.0_x5", &pending, true),
        ("kubectl-edit", &pending, false),
        ("helmet", &pending, false),
        ("helm", &settled, false),
    ] {
        let text = request(manager);
        let request: Request<'_> = serde_json::from_str(&text).unwrap();
        let verdict = violating("web", &["spec.replicas"]);
        let found = in_flight(&request, &verdict, claims, HELM_WRITERS).is_some();
        assert_eq!(found, expected, "{manager}");
    }
}

/// A verdict against each of these releases, for the change of these fields.
fn violating(releases: &str, paths: &[&str]) -> Verdict {
    let change = |path: &&str| FieldChange {
        path: FieldPath::of(path.split('|').flat_map(|path| match path.split_once('/') {
            None => path.split('.').collect::<Vec<_>>(),
            Some(_) => vec![path],
        })),
        declared: ShownValue::Absent,
        live: ShownValue::Absent,
        requested: ShownValue::Absent,
    };
    let finding = |release: &str| Finding {
        release: Arc::new(ReleaseName {
            namespace: "shop".into(),
            name: release.into(),
        }),
        chart: "web-1.0.0".into(),
        mode: Mode::Deny,
        revisions: vec![1],
        apply_method: crate::helm::record::ApplyMethod::default(),
        changes: paths.iter().map(change).collect(),
        involved: Vec::new(),
    };
    Verdict::with_findings(
        Reason::FieldsChanged,
        releases.split(' ').map(finding).collect(),
    )
}

/// Another pending release allows nothing, and an object without its marks is out of sight.
#[rstest::rstest]
#[case::the_pending_one("web", &["spec.replicas"], Some(1))]
#[case::the_settled_one("api", &["spec.replicas"], None)]
#[case::both("web api", &["spec.replicas"], None)]
#[case::the_label("web", &["metadata.labels|app.kubernetes.io/managed-by"], None)]
#[case::the_annotation("web", &["metadata.annotations|meta.helm.sh/release-name"], None)]
#[case::all_labels("web", &["metadata.labels"], None)]
#[case::another_label("web", &["metadata.labels|example.com/team"], Some(1))]
#[case::nothing("", &[], None)]
fn a_request_is_in_flight_only_if_each_violated_release_is_pending_and_keeps_its_marks(
    #[case] violated: &str,
    #[case] paths: &[&str],
    #[case] to_ask: Option<usize>,
) {
    let mut review = review("UPDATE", &replicas(3), &replicas(4));
    review["options"] = json!({"fieldManager": "helm"});
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let claims = [
        claim("api", Phase::Settled, vec![declares(3)]),
        claim("web", Phase::Pending, vec![declares(3)]),
    ];
    let found = in_flight(&request, &violating(violated, paths), &claims, HELM_WRITERS);
    assert_eq!(found.map(|claims| claims.len()), to_ask);
}

#[rstest::rstest]
#[case::its_account("system:serviceaccount:shop:migrate", Phase::Pending, true)]
#[case::another("system:serviceaccount:shop:default", Phase::Pending, false)]
#[case::elsewhere("system:serviceaccount:evil:migrate", Phase::Pending, false)]
#[case::not_an_account("migrate", Phase::Pending, false)]
#[case::not_pending("system:serviceaccount:shop:migrate", Phase::Settled, false)]
fn a_hooks_service_account_is_in_flight_while_its_release_is_pending(
    #[case] user: &str,
    #[case] phase: Phase,
    #[case] expected: bool,
) {
    let mut review = review("DELETE", &replicas(3), &Value::Null);
    review["userInfo"] = json!({"username": user});
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let mut claim = claim("web", phase, vec![declares(3)]);
    claim.hook_accounts = Arc::from([Box::from("migrate")]);
    let claims = [claim];
    let found = in_flight(&request, &violating("web", &[]), &claims, HELM_WRITERS);
    assert_eq!(found.map(|claims| claims.len()), expected.then_some(0));
}

/// A release in another namespace allows nothing here, whatever it declares.
#[test]
fn a_claim_that_rests_on_trust_alone_excuses_nothing() {
    let mut other = claim("other", Phase::Pending, vec![declares(4)]);
    let own = claim("web", Phase::Settled, vec![declares(3)]);
    let review = review("UPDATE", &replicas(3), &replicas(4));
    let judged = |other: &Claim| verdict(&review, &[own.clone(), other.clone()]);
    assert_eq!(judged(&other), Reason::NothingDeclaredChanges);
    other.reach = Reach::Trusted;
    assert_eq!(judged(&other), Reason::FieldsChanged);
}
