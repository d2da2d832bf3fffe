//! Scaling, and writes through other subresources.

use super::*;

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
fn the_replicas_of_a_custom_resource_are_where_its_crd_says() {
    let declared = object("v1", &json!({"spec": {"size": 3}}));
    let claims = [claim("web", Phase::Settled, vec![declared])];
    let mut review = review("UPDATE", &replicas(3), &replicas(4));
    review["subResource"] = json!("scale");
    let text = review.to_string();
    let request = serde_json::from_str(&text).unwrap();
    let verdict = verdict_on(&request, &claims, &["spec", "size"]);
    assert_eq!(verdict.reason, Reason::FieldsChanged);
    let path = verdict.findings[0].changes[0].path.to_string();
    assert_eq!(path, ".spec.size");
}

/// Only the replicas of a Scale are stored.
#[test]
fn the_metadata_of_a_scale_leads_to_nothing() {
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    let mut new = replicas(3);
    new["metadata"] = json!({"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"},
    ]});
    let write =
        |subresource: &str| verdict(&written_through(subresource, &replicas(3), &new), &claims);
    assert_eq!(write("scale"), Reason::NothingDeclaredChanges);
    assert_eq!(write("status"), Reason::LeadsToDeletion);
}

/// A request that was not read counts as one that changes everything.
#[test]
fn an_unread_write_violates_what_every_active_revision_holds() {
    let review = review("UPDATE", &replicas(3), &replicas(3)).to_string();
    let unread = Unread::OverBudget { size: 1 };
    let request = Request {
        unread: Some(unread),
        ..serde_json::from_str(&review).unwrap()
    };
    let judged = |phase, helds| {
        let verdict = verdict_on(&request, &[claim("web", phase, helds)], &[]);
        (verdict.reason, verdict.findings.len())
    };
    let held = judged(Phase::Settled, vec![declares(3)]);
    assert_eq!(held, (unread.reason(), 1));
    let given_up = judged(Phase::Pending, vec![RevisionObject::Absent, declares(3)]);
    assert_eq!(given_up, (Reason::NothingDeclaredChanges, 0));
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
