//! The decision of each kind of request, with hand-made claims.

mod deletes;
mod deputies;
mod flight;
mod ownership;
mod parts;
mod selectors;
mod subresources;
mod undeclared;
mod versions;

use std::{borrow::Cow, sync::Arc};

use serde_json::{Value, json};

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
        Request, RevisionClaim, RevisionObject, Unread, in_flight, screen, subject,
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

/// The verdict on a request whose object has its replicas at a path of its own.
fn verdict_on(request: &Request<'_>, claims: &[Claim], replicas_path: &[&str]) -> Verdict {
    judge(&Question {
        request,
        object: &ObjectRef {
            group: "apps",
            kind: "Deployment",
            namespace: "shop",
            name: Cow::Borrowed("web"),
        },
        claims,
        knowledge: Knowledge::Builtin(Shape::plain()),
        conversions: ConversionTargets::Versions(&[]),
        replicas_path,
        policy: &Policy::default(),
        labels: Labels::Unknown,
        facts: Facts::default(),
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

/// Scenarios 16, 21, 23, 25.
#[test]
fn an_update_may_follow_any_active_revision() {
    use Phase::{Failed, Pending};
    use Reason::{FieldsChanged, NothingDeclaredChanges};
    let both = || vec![declares(5), declares(3)];
    let new_object = || vec![declares(5), RevisionObject::Absent];
    for (phase, helds, old, new, expected) in [
        (Pending, both(), 3, 5, NothingDeclaredChanges),
        (Pending, both(), 5, 3, NothingDeclaredChanges),
        (Pending, both(), 3, 4, FieldsChanged),
        (Failed, both(), 3, 5, NothingDeclaredChanges),
        (Failed, both(), 3, 4, FieldsChanged),
        (Pending, new_object(), 3, 4, NothingDeclaredChanges),
        (Failed, new_object(), 5, 4, FieldsChanged),
    ] {
        let case = format!("{phase:?} {old} to {new}");
        let claims = [claim("web", phase, helds)];
        assert_eq!(update(&claims, old, new), expected, "{case}");
    }
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
