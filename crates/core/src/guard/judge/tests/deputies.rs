//! What a user may not make an exempt controller do.

use rstest::rstest;

use super::*;
use crate::{compare::schema::builtin::builtin, policy::license::Autoscaler};

const KUBE_SYSTEM: &str = "system:serviceaccount:kube-system:";
const SHARED: &str = "system:kube-controller-manager";

fn owner(uid: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid})
}

fn owned(owners: &[Value]) -> Value {
    json!({"metadata": {"ownerReferences": owners}, "spec": {"replicas": 3}})
}

fn being_deleted(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object
}

fn settled(object: &Value) -> Claim {
    claim("web", Phase::Settled, vec![super::object("v1", object)])
}

fn facts_verdict(review: &Value, claims: &[Claim], facts: Facts<'_>) -> Verdict {
    let shape = builtin().lookup("apps", "v1", "Deployment").unwrap();
    let policy = Policy::default();
    let knowledge = Knowledge::Builtin(shape);
    verdict_given(
        review,
        claims,
        knowledge,
        ConversionTargets::Versions(&[]),
        (&policy, facts),
    )
}

fn reason(review: &Value, claims: &[Claim]) -> Reason {
    facts_verdict(review, claims, Facts::default()).reason
}

fn by(user: &str, mut review: Value) -> Value {
    review["userInfo"]["username"] = json!(user);
    review
}

#[rstest]
#[case::added(&[], &[owner("1", "x")], Reason::LeadsToDeletion)]
#[case::added_to_others(&[owner("1", "x")], &[owner("1", "x"), owner("2", "y")], Reason::LeadsToDeletion)]
#[case::another_name(&[owner("1", "x")], &[owner("1", "y")], Reason::LeadsToDeletion)]
#[case::another_uid(&[owner("1", "x")], &[owner("2", "x")], Reason::LeadsToDeletion)]
#[case::becomes_the_controllers(
    &[owner("1", "x")],
    &[json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1", "controller": true})],
    Reason::LeadsToDeletion
)]
#[case::another_version(
    &[json!({"apiVersion": "a/v1", "kind": "X", "name": "x", "uid": "1"})],
    &[json!({"apiVersion": "a/v2", "kind": "X", "name": "x", "uid": "1"})],
    Reason::NothingDeclaredChanges
)]
#[case::removed(&[owner("1", "x")], &[], Reason::NothingDeclaredChanges)]
#[case::reordered(
    &[owner("1", "x"), owner("2", "y")],
    &[owner("2", "y"), owner("1", "x")],
    Reason::NothingDeclaredChanges
)]
fn an_owner_reference_that_no_manifest_declares_is_a_deletion(
    #[case] before: &[Value],
    #[case] after: &[Value],
    #[case] expected: Reason,
) {
    let claims = [settled(&replicas(3))];
    let review = review("UPDATE", &owned(before), &owned(after));
    assert_eq!(reason(&review, &claims), expected);
}

#[test]
fn a_denial_names_the_owner_reference_and_its_consequence() {
    let claims = [settled(&replicas(3))];
    let review = review("UPDATE", &owned(&[]), &owned(&[owner("1", "x")]));
    let verdict = facts_verdict(&review, &claims, Facts::default());
    let finding = &verdict.findings[0];
    assert_eq!(
        finding.changes[0].path.to_string(),
        ".metadata.ownerReferences[uid=1]"
    );
    assert!(finding.involved[0].contains("garbage collector"));
}

#[test]
fn an_owner_reference_passes_where_a_deletion_would() {
    let held = || object("v1", &replicas(3));
    let review = review("UPDATE", &owned(&[]), &owned(&[owner("1", "x")]));
    for (phase, helds, expected) in [
        (
            Phase::Uninstalling,
            vec![held()],
            Reason::NothingDeclaredChanges,
        ),
        (
            Phase::Pending,
            vec![RevisionObject::Absent, held()],
            Reason::NothingDeclaredChanges,
        ),
        (
            Phase::Failed,
            vec![held(), RevisionObject::Absent],
            Reason::NothingDeclaredChanges,
        ),
        (
            Phase::Pending,
            vec![held(), held()],
            Reason::LeadsToDeletion,
        ),
        (
            Phase::Pending,
            vec![held(), RevisionObject::Unreadable],
            Reason::RecordUnreadable,
        ),
    ] {
        let case = format!("{phase:?} {helds:?}");
        assert_eq!(
            reason(&review, &[claim("web", phase, helds)]),
            expected,
            "{case}"
        );
    }
    let leaving = super::review(
        "UPDATE",
        &being_deleted(owned(&[])),
        &being_deleted(owned(&[owner("1", "x")])),
    );
    let claims = [settled(&replicas(3))];
    assert_eq!(reason(&leaving, &claims), Reason::NothingDeclaredChanges);
}

#[test]
fn an_owner_reference_passes_if_a_rule_ignores_it() {
    let policy = json!({"ignore": [{"paths": ["/metadata/ownerReferences"]}]});
    let policy = Policy::compile(&serde_json::from_value(policy).unwrap()).unwrap();
    let verdict = verdict_given(
        &review("UPDATE", &owned(&[]), &owned(&[owner("1", "x")])),
        &[settled(&replicas(3))],
        Knowledge::Builtin(Shape::plain()),
        ConversionTargets::Versions(&[]),
        (&policy, Facts::default()),
    );
    assert_eq!(verdict.reason, Reason::Exempt);
    assert_eq!(verdict.exemption.as_deref(), Some("ignore[0]"));
}

#[test]
fn an_owner_reference_is_evaluated_in_the_version_of_the_manifest() {
    let mut review = review("UPDATE", &owned(&[]), &owned(&[owner("1", "x")]));
    review["kind"]["version"] = json!("v2");
    let versions = [Box::from("v1")];
    let verdict = verdict_in(
        &review,
        &[settled(&replicas(3))],
        Knowledge::Builtin(Shape::plain()),
        ConversionTargets::Versions(&versions),
    );
    assert_eq!(verdict.reason, Reason::JudgedInDeclaredVersion);
}

#[test]
fn a_declared_owner_reference_passes_and_so_does_one_to_a_declared_owner() {
    let review = review("UPDATE", &owned(&[]), &owned(&[owner("1", "x")]));
    let declares_it = [settled(&owned(&[owner("1", "x")]))];
    assert_eq!(
        reason(&review, &declares_it),
        Reason::NothingDeclaredChanges
    );
    // An upgrade to a manifest that declares it is pending.
    let upgrade = [claim(
        "web",
        Phase::Pending,
        vec![object("v1", &owned(&[owner("1", "x")])), declares(3)],
    )];
    assert_eq!(reason(&review, &upgrade), Reason::NothingDeclaredChanges);
    let claims = [settled(&replicas(3))];
    let uids = ["1".to_owned()];
    let vouched = Facts {
        owners: &uids,
        ..Facts::default()
    };
    let unknown = Facts {
        unknown_owners: &uids,
        ..Facts::default()
    };
    let judged = |facts| facts_verdict(&review, &claims, facts).reason;
    assert_eq!(judged(vouched), Reason::NothingDeclaredChanges);
    assert_eq!(judged(unknown), Reason::OwnerUnknown);
}

#[test]
fn a_changed_field_and_a_new_owner_reference_are_one_verdict() {
    let claims = [settled(&replicas(3))];
    let mut new = owned(&[owner("1", "x")]);
    new["spec"]["replicas"] = json!(5);
    let verdict = facts_verdict(
        &review("UPDATE", &owned(&[]), &new),
        &claims,
        Facts::default(),
    );
    assert_eq!(verdict.reason, Reason::LeadsToDeletion);
    let changes = verdict.findings[0].changes.iter();
    let paths: Vec<_> = changes.map(|change| change.path.to_string()).collect();
    assert_eq!(
        paths,
        [".spec.replicas", ".metadata.ownerReferences[uid=1]"]
    );
}

/// Without credentials of their own all controllers have one name, and one of them adopts.
#[rstest]
fn a_controller_that_adopts_an_object_is_evaluated_like_any_user(
    #[values(
        "alice",
        SHARED,
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "system:serviceaccount:kube-system:statefulset-controller"
    )]
    user: &str,
) {
    let claims = [settled(&replicas(3))];
    let review = review("UPDATE", &owned(&[]), &owned(&[owner("1", "x")]));
    assert_eq!(reason(&by(user, review), &claims), Reason::LeadsToDeletion);
}

#[rstest]
#[case::declared_owner("generic-garbage-collector", owned(&[owner("1", "x")]), Reason::Exempt)]
#[case::another_owner("generic-garbage-collector", owned(&[owner("2", "y")]), Reason::ObjectDeleted)]
#[case::no_owner("generic-garbage-collector", owned(&[]), Reason::ObjectDeleted)]
#[case::not_the_collector("namespace-controller", owned(&[owner("1", "x")]), Reason::ObjectDeleted)]
#[case::already_going("generic-garbage-collector", being_deleted(owned(&[owner("2", "y")])), Reason::NothingDeclaredChanges)]
fn the_garbage_collector_deletes_only_for_an_owner_that_is_declared(
    #[case] user: &str,
    #[case] live: Value,
    #[case] expected: Reason,
) {
    let claims = [settled(&owned(&[owner("1", "x")]))];
    let review = review("DELETE", &live, &Value::Null);
    assert_eq!(
        reason(&by(&format!("{KUBE_SYSTEM}{user}"), review), &claims),
        expected
    );
}

#[test]
fn the_namespace_controller_deletes_only_in_a_terminating_namespace() {
    let claims = [settled(&replicas(3))];
    for user in [&format!("{KUBE_SYSTEM}namespace-controller"), SHARED] {
        let review = by(user, review("DELETE", &replicas(3), &Value::Null));
        assert_eq!(reason(&review, &claims), Reason::ObjectDeleted, "{user}");
        let facts = Facts {
            is_terminating: true,
            ..Facts::default()
        };
        let verdict = facts_verdict(&review, &claims, facts);
        assert_eq!(verdict.reason, Reason::Exempt, "{user}");
    }
}

/// A second delete removes nothing more.
#[test]
fn an_object_that_is_being_deleted_may_be_deleted_again() {
    let claims = [settled(&replicas(3))];
    let review = review("DELETE", &being_deleted(replicas(3)), &Value::Null);
    assert_eq!(reason(&review, &claims), Reason::NothingDeclaredChanges);
}

const JOB: (&str, &str, &str) = ("batch", "Job", "ttl-after-finished-controller");
const ROLE: (&str, &str, &str) = (
    "rbac.authorization.k8s.io",
    "ClusterRole",
    "clusterrole-aggregation-controller",
);

fn of_kind((group, kind, _): (&str, &str, &str), mut review: Value) -> Value {
    review["kind"] = json!({"group": group, "version": "v1", "kind": kind});
    review
}

fn kind_verdict(kind: (&str, &str, &str), review: Value, declared: &Value) -> Verdict {
    let text = of_kind(kind, review).to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let object = ObjectRef {
        group: kind.0,
        kind: kind.1,
        namespace: "shop",
        name: Cow::Borrowed("web"),
    };
    let shape = builtin()
        .lookup(kind.0, "v1", kind.1)
        .unwrap_or(Shape::plain());
    judge(&Question {
        request: &request,
        object: &object,
        claims: &[settled(declared)],
        knowledge: Knowledge::Builtin(shape),
        conversions: ConversionTargets::Versions(&[]),
        replicas_path: &[],
        policy: &Policy::default(),
        labels: Labels::Unknown,
        facts: Facts::default(),
        redactor: &Redactor::new(b"key"),
    })
}

#[test]
fn a_time_to_live_is_a_deletion_unless_it_is_declared() {
    let job = |ttl: Value| json!({"spec": {"backoffLimit": 1, "ttlSecondsAfterFinished": ttl}});
    let none = job(Value::Null);
    let add = |declared: &Value| {
        let update = review("UPDATE", &none, &job(json!(0)));
        kind_verdict(JOB, update, declared).reason
    };
    assert_eq!(add(&none), Reason::LeadsToDeletion);
    assert_eq!(add(&job(json!(0))), Reason::NothingDeclaredChanges);
    let changed = review("UPDATE", &job(json!(100)), &job(json!(0)));
    let verdict = kind_verdict(JOB, changed, &none);
    assert_eq!(verdict.reason, Reason::LeadsToDeletion);
    let removed = review("UPDATE", &job(json!(100)), &none);
    assert_eq!(
        kind_verdict(JOB, removed, &none).reason,
        Reason::NothingDeclaredChanges
    );

    let user = format!("{KUBE_SYSTEM}{}", JOB.2);
    let delete = |declared: &Value| {
        let delete = by(&user, review("DELETE", &job(json!(0)), &Value::Null));
        kind_verdict(JOB, delete, declared).reason
    };
    assert_eq!(delete(&none), Reason::ObjectDeleted);
    assert_eq!(delete(&job(json!(0))), Reason::Exempt);
}

#[test]
fn an_aggregation_rule_is_a_change_of_the_rules_unless_it_is_declared() {
    let role = |aggregation: Value, verb: &str| json!({"aggregationRule": aggregation, "rules": [{"verbs": [verb]}]});
    let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let (plain, aggregated) = (role(Value::Null, "get"), role(selectors.clone(), "get"));
    let added = review("UPDATE", &plain, &aggregated);
    let verdict = kind_verdict(ROLE, added.clone(), &plain);
    assert_eq!(verdict.reason, Reason::LeadsToChange);
    assert_eq!(
        verdict.findings[0].changes[0].path.to_string(),
        ".aggregationRule"
    );
    let declared = kind_verdict(ROLE, added, &aggregated).reason;
    assert_eq!(declared, Reason::NothingDeclaredChanges);

    let user = format!("{KUBE_SYSTEM}{}", ROLE.2);
    let filled = |declared: &Value| {
        let update = review("UPDATE", &aggregated, &role(selectors.clone(), "*"));
        kind_verdict(ROLE, by(&user, update), declared).reason
    };
    assert_eq!(filled(&plain), Reason::FieldsChanged);
    assert_eq!(filled(&aggregated), Reason::Exempt);
}

const DEFINITION: (&str, &str, &str) = ("apiextensions.k8s.io", "CustomResourceDefinition", "");
const INGRESS: (&str, &str, &str) = ("networking.k8s.io", "Ingress", "");

fn annotated(name: &str, value: &str, mut object: Value) -> Value {
    object["metadata"]["annotations"][name] = json!(value);
    object
}

#[test]
fn an_annotation_for_an_injector_is_a_change_of_the_injected_fields() {
    const FROM: &str = "cert-manager.io/inject-ca-from";
    let bundle =
        json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": "QQ=="}}}}});
    let plain = json!({"spec": {"scope": "Cluster"}});
    let added = |declared: &Value, live: &Value| {
        let update = review("UPDATE", live, &annotated(FROM, "a/b", live.clone()));
        kind_verdict(DEFINITION, update, declared).reason
    };
    assert_eq!(added(&bundle, &bundle), Reason::LeadsToChange);
    assert_eq!(
        added(&annotated(FROM, "a/b", bundle.clone()), &bundle),
        Reason::NothingDeclaredChanges
    );
    assert_eq!(
        added(&plain, &plain),
        Reason::NothingDeclaredChanges,
        "nothing is injected"
    );

    let injector = "system:serviceaccount:cert-manager:cert-manager-cainjector";
    let injected = |declared: &Value| {
        let mut new = bundle.clone();
        new["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = json!("Qg==");
        let update = by(injector, review("UPDATE", &bundle, &new));
        kind_verdict(DEFINITION, update, declared).reason
    };
    assert_eq!(injected(&bundle), Reason::FieldsChanged);
    assert_eq!(
        injected(&annotated(FROM, "a/b", bundle.clone())),
        Reason::Exempt
    );
}

#[test]
fn cert_manager_edits_an_ingress_in_place_if_the_chart_asks_for_it() {
    const IN_PLACE: &str = "acme.cert-manager.io/http01-edit-in-place";
    let path = |path: &str, service: &str| json!({"path": path, "backend": {"service": {"name": service}}});
    let ingress = |paths: Vec<Value>| json!({"spec": {"rules": [{"host": "a.example.com", "http": {"paths": paths}}]}});
    let shop = || path("/", "shop");
    let challenge = || path("/.well-known/acme-challenge/x", "cm-acme-http-solver-1");
    let live = ingress(vec![shop()]);
    let judged = |user: &str, new: Value, declared: &Value| {
        let update = by(user, review("UPDATE", &live, &new));
        kind_verdict(INGRESS, update, declared).reason
    };
    let cert_manager = "system:serviceaccount:cert-manager:cert-manager";
    let asks = annotated(IN_PLACE, "true", live.clone());
    let open = || ingress(vec![challenge(), shop()]);
    assert_eq!(judged(cert_manager, open(), &asks), Reason::Exempt);
    assert_eq!(judged(cert_manager, open(), &live), Reason::FieldsChanged);
    assert_eq!(judged("alice", open(), &asks), Reason::FieldsChanged);
    let other = ingress(vec![path("/admin", "cm-acme-http-solver-1"), shop()]);
    assert_eq!(judged(cert_manager, other, &asks), Reason::FieldsChanged);
    let asked = annotated(IN_PLACE, "true", live.clone());
    assert_eq!(judged("alice", asked, &live), Reason::LeadsToChange);
}

#[test]
fn an_autoscaler_that_no_release_declares_passes_and_is_named() {
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    let scaled = |user: &str, autoscaler, policy: &Policy| {
        let mut review = review("UPDATE", &replicas(3), &replicas(5));
        review["subResource"] = json!("scale");
        let facts = Facts {
            autoscaler,
            ..Facts::default()
        };
        let knowledge = Knowledge::Builtin(Shape::plain());
        let review = by(user, review);
        verdict_given(
            &review,
            &claims,
            knowledge,
            ConversionTargets::Versions(&[]),
            (policy, facts),
        )
    };
    let hpa = format!("{KUBE_SYSTEM}horizontal-pod-autoscaler");
    let policy = |spec: Value| Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap();
    let (allow, deny) = (
        Policy::default(),
        policy(json!({"presets": {"undeclaredAutoscalers": "Deny"}})),
    );
    let declared = scaled(&hpa, Autoscaler::Declared, &allow);
    assert_eq!(declared.reason, Reason::Exempt);
    let named = scaled(&hpa, Autoscaler::Undeclared, &allow);
    assert_eq!(named.reason, Reason::UndeclaredAutoscaler);
    assert_eq!(
        named.exemption.as_deref(),
        Some("horizontal-pod-autoscaler")
    );
    assert_eq!(
        named.findings[0].changes[0].path.to_string(),
        ".spec.replicas"
    );
    let refused = scaled(&hpa, Autoscaler::Undeclared, &deny).reason;
    assert_eq!(refused, Reason::FieldsChanged);
    assert_eq!(
        scaled(&hpa, Autoscaler::Declared, &deny).reason,
        Reason::Exempt
    );
    let person = scaled("alice", Autoscaler::Declared, &allow).reason;
    assert_eq!(person, Reason::FieldsChanged);
    // A policy may allow this very autoscaler.
    let exempting = policy(
        json!({"presets": {"undeclaredAutoscalers": "Deny"}, "exemptions": [{
            "name": "hpa", "subjects": {"users": [hpa]}, "operations": ["Scale"],
            "kinds": [{"group": "apps", "kind": "Deployment"}],
        }]}),
    );
    let exempt = scaled(&hpa, Autoscaler::Undeclared, &exempting);
    assert_eq!(exempt.exemption.as_deref(), Some("hpa"));
}

/// An unreadable record still shows that its release owns the object.
#[test]
fn ownership_metadata_is_guarded_while_a_record_is_unreadable() {
    let marks = |label: &str, release: &str| {
        json!({"metadata": {
            "labels": {"app.kubernetes.io/managed-by": label, "x": "y"},
            "annotations": {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "shop"},
        }, "spec": {"replicas": 3}})
    };
    let old = marks("Helm", "web");
    let mut noted = old.clone();
    noted["metadata"]["annotations"]["note"] = json!("seen");
    let mut unlabelled = old.clone();
    unlabelled["metadata"]["labels"] = json!({"x": "y"});
    for helds in [
        vec![RevisionObject::Unreadable, declares(3)],
        vec![declares(3), RevisionObject::Unreadable],
    ] {
        let claims = [claim("web", Phase::Pending, helds)];
        let judged = |new: &Value| reason(&review("UPDATE", &old, new), &claims);
        assert_eq!(judged(&unlabelled), Reason::FieldsChanged);
        assert_eq!(judged(&marks("someone", "web")), Reason::FieldsChanged);
        assert_eq!(judged(&marks("Helm", "other")), Reason::FieldsChanged);
        assert_eq!(judged(&noted), Reason::NothingDeclaredChanges);
    }
}
