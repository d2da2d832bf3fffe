//! A release of another namespace takes ownership of an object, as with `--take-ownership`.

use super::*;

/// The release that the objects of [`handed_over`] name.
fn marks(release: &str, namespace: &str) -> Value {
    json!({
        "name": "web", "uid": "o-1",
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace,
        },
    })
}

const OWNED: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web",
    "labels":{"app.kubernetes.io/managed-by":"Helm"},"annotations":{
    "meta.helm.sh/release-name":"myapp","meta.helm.sh/release-namespace":"shop"}},
    "spec":{"replicas":3}}"#;

/// Release `x` of namespace `evil`, pending, declares the Deployment with five replicas.
fn taker(phase: Phase) -> Claim {
    let object = ObjectRef {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        name: "web".into(),
    };
    let mut declared: Value = serde_json::from_str(OWNED).unwrap();
    declared["metadata"] = marks("x", "evil");
    declared["spec"]["replicas"] = json!(5);
    let mut claim = claims(&declared.to_string(), &object, phase).remove(0);
    claim.release = Arc::new(ReleaseName {
        namespace: "evil".to_owned(),
        name: "x".to_owned(),
    });
    claim.records.namespace = "evil".into();
    claim.reach = Reach::Elsewhere;
    claim
}

/// From `myapp` to `x`, as field manager `helm`, with this many replicas.
fn handed_over(replicas: u32) -> Value {
    let mut request = update(replicas);
    request["oldObject"]["metadata"] = marks("myapp", "shop");
    request["object"]["metadata"] = marks("x", "evil");
    with(request, "options", json!({"fieldManager": "helm"}))
}

fn setup(trusted: bool, writes_in: &'static [&'static str], phase: Phase) -> Setup {
    let mut setup = Setup {
        declared: OWNED,
        takeover: TakeOver {
            taker: Some(taker(phase)),
            writes_in: Some(writes_in),
        },
        ..Setup::default()
    };
    if trusted {
        setup.infrastructure.policy = json!({"trustedNamespaces": ["evil"]});
    }
    setup
}

#[rstest]
#[case::who_may_write_the_losing_records(false, &["shop"], "ownership-taken")]
#[case::who_may_write_only_the_takers(false, &["evil"], "fields-changed")]
#[case::trusted(true, &["evil"], "ownership-taken")]
#[case::trusted_by_who_may_write_the_losing_records(true, &["shop"], "ownership-taken")]
#[case::trusted_by_anybody(true, &[], "fields-changed")]
#[tokio::test]
async fn ownership_across_namespaces_needs_the_right_to_write_records(
    #[case] trusted: bool,
    #[case] writes_in: &'static [&'static str],
    #[case] reason: &str,
) {
    let bench = setup(trusted, writes_in, Phase::Pending).start();
    let response = bench.review(&handed_over(5)).await;
    assert_eq!(response["auditAnnotations"]["reason"], reason, "{response}");
    assert_eq!(response["allowed"], reason == "ownership-taken");
}

#[tokio::test]
async fn a_takeover_is_warned_about_recorded_counted_and_announced() {
    let mut bench = setup(false, &["shop"], Phase::Pending).start();
    bench
        .review(&with(handed_over(5), "dryRun", json!(true)))
        .await;
    assert!(bench.announcer.queued().is_none());
    let response = bench.review(&handed_over(5)).await;
    let warning = response["warnings"][0].as_str().unwrap();
    let line = &bench.audit_lines()[0];
    assert_eq!(
        (&line["verdict"], &line["reason"]),
        (&json!("allowed"), &json!("ownership-taken"))
    );
    assert_eq!(line["user"], "ada");
    let note = bench.announcer.queued().unwrap();
    assert_eq!(note.reason, "OwnershipTaken");
    let line = line.to_string();
    for text in [warning, &*line, &*note.text] {
        assert!(text.contains("myapp") && text.contains("evil"), "{text}");
    }
    assert!(note.text.contains("ada"), "{}", note.text);
    assert!(bench.metrics().contains("reason=\"ownership-taken\""));
}

/// Everything that Helm would not send in a takeover is evaluated as usual.
#[rstest]
#[case::a_value_that_neither_declares("/spec/replicas", json!(7), Phase::Pending, "helm")]
#[case::the_label_off("/metadata/labels", json!({}), Phase::Pending, "helm")]
#[case::the_label_of_somebody_else(
    "/metadata/labels/app.kubernetes.io~1managed-by", json!("me"), Phase::Pending, "helm"
)]
#[case::the_annotations_off("/metadata/annotations", json!({}), Phase::Pending, "helm")]
#[case::one_annotation_off(
    "/metadata/annotations", json!({"meta.helm.sh/release-name": "x"}), Phase::Pending, "helm"
)]
#[case::a_third_owner(
    "/metadata/annotations/meta.helm.sh~1release-name", json!("y"), Phase::Pending, "helm"
)]
#[case::no_operation("/spec/replicas", json!(5), Phase::Settled, "helm")]
#[case::another_manager("/spec/replicas", json!(5), Phase::Pending, "kubectl-edit")]
#[tokio::test]
async fn a_takeover_allows_nothing_else(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] phase: Phase,
    #[case] manager: &str,
    #[values(false, true)] trusted: bool,
) {
    let mut request = with(handed_over(5), "options", json!({"fieldManager": manager}));
    *request["object"].pointer_mut(pointer).unwrap() = value;
    let bench = setup(trusted, &["shop", "evil"], phase).start();
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], false, "{response}");
}
