//! Facts about the cluster that are needed before an exempt controller may act.

use super::*;

const KUBE_SYSTEM: &str = "system:serviceaccount:kube-system:";

fn by(controller: &str, mut request: Value) -> Value {
    request["userInfo"] = json!({"username": format!("{KUBE_SYSTEM}{controller}")});
    request
}

fn delete() -> Value {
    let mut request = update(0);
    request["operation"] = json!("DELETE");
    request["object"] = Value::Null;
    request
}

fn scale() -> Value {
    let mut request = update(5);
    request["subResource"] = json!("scale");
    request["kind"] = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
    request
}

/// A Deployment that gets another one of the release as its owner, with this uid.
fn owned_by(name: &str, uid: &str) -> Value {
    let mut request = update(3);
    request["object"]["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid}]);
    request
}

async fn decided(deputies: Deputies, request: &Value) -> (bool, String) {
    let bench = Setup {
        deputies,
        ..Setup::default()
    }
    .start();
    let response = bench.review(request).await;
    let reason = response["auditAnnotations"]["reason"].as_str().unwrap();
    (response["allowed"].as_bool().unwrap(), reason.to_owned())
}

fn live(uid: Result<Option<&str>, ()>) -> Deputies {
    Deputies {
        live_uid: uid.map(|uid| uid.map(str::to_owned)),
        ..Deputies::default()
    }
}

#[rstest]
#[case::the_owner(Ok(Some("o-2")), "web", true, "nothing-declared-changes")]
#[case::another_uid(Ok(Some("o-3")), "web", false, "leads-to-deletion")]
#[case::no_such_object(Ok(None), "web", false, "leads-to-deletion")]
#[case::nobody_can_say(Err(()), "web", true, "owner-unknown")]
#[case::not_declared(Ok(Some("o-2")), "other", false, "leads-to-deletion")]
#[tokio::test]
async fn an_owner_reference_is_allowed_if_the_owner_is_declared_with_the_right_uid(
    #[case] uid: Result<Option<&str>, ()>,
    #[case] name: &str,
    #[case] allowed: bool,
    #[case] reason: &str,
) {
    let got = decided(live(uid), &owned_by(name, "o-2")).await;
    assert_eq!(got, (allowed, reason.to_owned()));
}

#[rstest]
#[case::gone(Ok(None), true, "exempt")]
#[case::going(Ok(Some("o-2")), true, "exempt")]
#[case::never_was(Ok(Some("o-3")), false, "object-deleted")]
#[case::nobody_can_say(Err(()), false, "object-deleted")]
#[tokio::test]
async fn the_garbage_collector_may_delete_dependents_of_a_declared_owner(
    #[case] uid: Result<Option<&str>, ()>,
    #[case] allowed: bool,
    #[case] reason: &str,
) {
    let mut request = by("generic-garbage-collector", delete());
    request["oldObject"] = owned_by("web", "o-2")["object"].clone();
    assert_eq!(
        decided(live(uid), &request).await,
        (allowed, reason.to_owned())
    );
}

#[rstest]
#[case::terminating(true, "exempt")]
#[case::not_terminating(false, "object-deleted")]
#[tokio::test]
async fn the_namespace_controller_may_only_clear_a_terminating_namespace(
    #[case] is_terminating: bool,
    #[case] reason: &str,
) {
    let mut setup = Setup::default();
    setup.infrastructure.is_terminating = is_terminating;
    let bench = setup.start();
    let response = bench.review(&by("namespace-controller", delete())).await;
    assert_eq!(response["auditAnnotations"]["reason"], reason);
}

#[rstest]
#[case::declared(Ok(true), json!({}), true, "exempt")]
#[case::undeclared(Ok(false), json!({}), true, "undeclared-autoscaler")]
#[case::denied(Ok(false), json!({"undeclaredAutoscalers": "Deny"}), false, "fields-changed")]
#[case::declared_where_others_are_denied(
    Ok(true), json!({"undeclaredAutoscalers": "Deny"}), true, "exempt"
)]
#[case::nobody_can_say(
    Err(()), json!({"undeclaredAutoscalers": "Deny"}), true, "read-through-failed"
)]
#[tokio::test]
async fn an_undeclared_autoscaler_is_reported(
    #[case] is_autoscaled: Result<bool, ()>,
    #[case] presets: Value,
    #[case] allowed: bool,
    #[case] reason: &str,
) {
    let deputies = Deputies {
        is_autoscaled,
        presets,
        ..Deputies::default()
    };
    let got = decided(deputies, &by("horizontal-pod-autoscaler", scale())).await;
    assert_eq!(got, (allowed, reason.to_owned()));
}

/// A forged record elsewhere would hide an undeclared autoscaler.
#[rstest]
#[case::named(true, json!({}), "exempt")]
#[case::forged(false, json!({}), "undeclared-autoscaler")]
#[case::named_where_others_are_denied(true, json!({"undeclaredAutoscalers": "Deny"}), "exempt")]
#[case::forged_where_others_are_denied(
    false, json!({"undeclaredAutoscalers": "Deny"}), "fields-changed"
)]
#[tokio::test]
async fn records_elsewhere_declare_only_an_autoscaler_that_names_their_release(
    #[case] is_named: bool,
    #[case] presets: Value,
    #[case] reason: &str,
) {
    let release = ReleaseName {
        namespace: "flux".to_owned(),
        name: "web".to_owned(),
    };
    let mut setup = Setup::default();
    let owner = is_named.then(|| release.clone());
    setup.infrastructure.sighting = Ok(Sighting::Names(owner));
    setup.deputies = Deputies {
        is_autoscaled: Ok(false),
        presets,
        elsewhere: Some(Claimant {
            release: Arc::new(release),
            reach: Reach::Elsewhere,
            witnesses: vec![Witness {
                api_version: "autoscaling/v2".to_owned(),
                kind: "HorizontalPodAutoscaler".to_owned(),
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            }],
        }),
        ..Deputies::default()
    };
    let request = by("horizontal-pod-autoscaler", scale());
    let response = setup.start().review(&request).await;
    assert_eq!(response["auditAnnotations"]["reason"], reason);
}

#[tokio::test]
async fn an_undeclared_autoscaler_is_counted_forecast_and_announced_once_per_object() {
    let mut setup = Setup::default();
    setup.deputies.is_autoscaled = Ok(false);
    let mut bench = setup.start();
    let request = by("horizontal-pod-autoscaler", scale());
    let mut dry = request.clone();
    dry["dryRun"] = json!(true);
    bench.review(&dry).await;
    assert!(bench.announcer.queued().is_none());
    for _ in 0..2 {
        bench.review(&request).await;
    }
    let note = bench.announcer.queued().unwrap();
    assert_eq!(note.reason, "UndeclaredAutoscaler");
    assert_eq!(
        (&*note.object.kind, &*note.object.name),
        ("Deployment", "web")
    );
    assert_eq!(note.api_version, "apps/v1");
    assert!(
        note.text
            .contains(".spec.replicas: declared 3, live 3, requested 5"),
        "{}",
        note.text
    );
    assert!(bench.announcer.queued().is_none(), "once an object");
    assert!(bench.metrics().contains("reason=\"undeclared-autoscaler\""));
    let forecast = bench.recorder.forecast.take();
    let (what, _) = forecast.rows.first_key_value().unwrap();
    assert_eq!(what.act, crate::record::forecast::ForecastAct::Autoscale);
    assert_eq!(what.field, ".spec.replicas");
}
