//! Release records.

use super::*;

#[tokio::test]
async fn the_record_of_a_deployed_revision_cannot_be_deleted() {
    let response = answer(known(), &delete(3)).await;
    assert_eq!(
        message(&response),
        "
Secret \"sh.helm.release.v1.web.v3\" is the record of Helm release \"web\" in namespace \"shop\" \
         (revision 3, chart web-1.0.0): without it Helm loses the release, and the objects of the \
         release are orphaned
Remove the release and its records together: helm uninstall web -n shop
In an emergency: helm-guard break-glass open -n shop --reason <reason>"
    );
    assert_eq!(response["auditAnnotations"]["reason"], "record-deleted");
    assert_eq!(response["auditAnnotations"]["release"], "shop/web");
}

#[rstest]
#[case::superseded(
    "superseded",
    "that revision cannot be restored",
    "helm upgrade web -n shop <chart> --history-max <n>"
)]
#[case::pending(
    "pending-upgrade",
    "the changes of that operation are unknown",
    "helm rollback web -n shop"
)]
#[case::first(
    "pending-install",
    "the changes of that operation are unknown",
    "helm rollback web -n shop 3; or remove it: helm uninstall web -n shop"
)]
#[case::failed("failed", "are orphaned", "helm uninstall web -n shop")]
#[tokio::test]
async fn the_remedy_for_a_deleted_record_depends_on_its_status(
    #[case] status: &str,
    #[case] lost: &str,
    #[case] instead: &str,
) {
    let mut request = delete(3);
    request["oldObject"]["metadata"]["labels"]["status"] = json!(status);
    let response = answer(known(), &request).await;
    let message = message(&response);
    assert!(message.contains(lost), "{message}");
    assert!(message.contains(instead), "{message}");
}

#[tokio::test]
async fn deleting_a_collection_of_records_names_the_other_releases() {
    let infrastructure = Infrastructure {
        holders: Ok(vec![holder("web", &[]), holder("db", &[])]),
        ..known()
    };
    let response = answer(infrastructure, &with(delete(2), "name", json!(""))).await;
    let message = message(&response);
    assert!(
        message.contains("Other releases recorded there: \"db\" in namespace \"shop\"\n"),
        "{message}"
    );
}

#[rstest]
#[case::pruned(known(), delete(2), "helms-own")]
#[case::uninstalled(
    Infrastructure { history: Ok(vec![(2, RevisionStatus::Superseded), (3, RevisionStatus::Uninstalling)]), ..known() },
    delete(3),
    "uninstalling"
)]
#[case::gone(Infrastructure { history: Ok(Vec::new()), ..known() }, delete(3), "helms-own")]
#[case::with_its_namespace(
    Infrastructure { is_terminating: true, ..known() }, delete(3), "helms-own"
)]
#[case::nobody_can_say(
    Infrastructure { history: Err(()), ..known() }, delete(3), "read-through-failed"
)]
#[case::switched_off(
    Infrastructure { policy: json!({"mode": "Off"}), ..known() }, delete(3), "helms-own"
)]
#[case::only_recorded(
    Infrastructure { policy: json!({"mode": "Audit"}), ..known() }, delete(3), "record-deleted"
)]
#[tokio::test]
async fn a_record_may_be_deleted_as_helm_does_or_if_not_guarded(
    #[case] infrastructure: Infrastructure,
    #[case] request: Value,
    #[case] expected: &str,
) {
    assert_eq!(reason(&answer(infrastructure, &request).await), expected);
}

#[tokio::test]
async fn the_namespace_controller_may_clear_a_namespace() {
    let mut request = with(delete(3), "name", json!(""));
    request["userInfo"]["username"] =
        json!("system:serviceaccount:kube-system:namespace-controller");
    let terminating = Infrastructure {
        is_terminating: true,
        ..known()
    };
    let response = answer(terminating, &request).await;
    assert_eq!(reason(&response), "exempt");
    let response = answer(known(), &request).await;
    assert!(message(&response).contains("is the record of"));
}

#[tokio::test]
async fn an_edit_of_a_record_is_denied_without_showing_its_content() {
    let old = record(3, "", "password: hunter2");
    let new = record(3, "", "password: hunter2hunter2");
    let request = of_record("UPDATE", Some(old.clone()), Some(new));
    let response = answer(known(), &request).await;
    let message = message(&response);
    assert!(
        message.contains("\n  .data.release.manifest: declared as Helm wrote it"),
        "{message}"
    );
    assert!(message.contains("helm rollback web -n shop"), "{message}");

    let moved = record(3, "Upgrade complete", "password: hunter2");
    let request = of_record("UPDATE", Some(old.clone()), Some(moved));
    assert_eq!(reason(&answer(known(), &request).await), "helms-own");
    let mut noted = old.clone();
    noted["metadata"]["annotations"] = json!({"backup": "yes"});
    let request = of_record("UPDATE", Some(old), Some(noted));
    let response = answer(known(), &request).await;
    assert_eq!(reason(&response), "nothing-declared-changes");
}

#[tokio::test]
async fn an_emergency_edit_of_a_record_is_allowed_and_recorded_without_its_content() {
    let bench = Setup {
        infrastructure: known(),
        ..Setup::default()
    }
    .start();
    let mut request = of_record(
        "UPDATE",
        Some(record(3, "", "password: hunter2")),
        Some(record(3, "", "password: hunter3")),
    );
    request["kind"]["kind"] = json!("ConfigMap");
    request["resource"]["resource"] = json!("configmaps");
    for object in ["oldObject", "object"] {
        let text = request[object]["data"]["release"].as_str().unwrap();
        let inner = BASE64_STANDARD.decode(text).unwrap();
        request[object]["data"]["release"] = json!(String::from_utf8(inner).unwrap());
    }
    let content = request["object"]["data"]["release"].clone();
    let response = ask(&bench, &by_emergency(request)).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["auditAnnotations"]["verdict"], "break-glass");
    let line = &bench.audit_lines()[0];
    assert_eq!(line["reason"], "record-tampered");
    assert!(!line.to_string().contains(content.as_str().unwrap()));
}

#[rstest]
#[case::install("CREATE", None, Some(record(1, "", "")))]
#[case::mark("UPDATE", Some(record(3, "", "")), Some(record(3, "done", "")))]
#[case::prune("DELETE", Some(record(2, "", "")), None)]
#[tokio::test]
async fn if_deployers_are_named_only_they_write_records(
    #[case] operation: &str,
    #[case] old: Option<Value>,
    #[case] new: Option<Value>,
) {
    let deployers = json!([
        {"subjects": {"users": ["pipeline"]}, "scope": {"namespaces": ["shop"]}},
        {"subjects": {"users": ["other"]}, "scope": {"namespaces": ["bank"]}},
    ]);
    let with_mode = |mode: Value| Infrastructure {
        policy: json!({"deployers": deployers, "deployersMode": mode}),
        ..known()
    };
    let request = of_record(operation, old, new);
    let response = answer(with_mode(json!("Deny")), &request).await;
    assert!(message(&response).contains(
        "\nada is not an allowed deployer of this release (spec.records.deployers of the policy)\n\
         Allowed deployers: pipeline\n"
    ));
    assert_eq!(response["auditAnnotations"]["reason"], "not-a-deployer");
    let response = answer(with_mode(json!("Warn")), &request).await;
    assert_eq!(reason(&response), "not-a-deployer");
    assert!(
        response["warnings"]
            .to_string()
            .contains("ada is not an allowed deployer of")
    );
    for (user, expected) in [("pipeline", true), ("other", false)] {
        let mut request = request.clone();
        request["userInfo"]["username"] = json!(user);
        let response = answer(with_mode(json!("Deny")), &request).await;
        assert_eq!(response["allowed"], expected, "{user}: {response}");
    }
    assert_eq!(answer(known(), &request).await["allowed"], true);
}
