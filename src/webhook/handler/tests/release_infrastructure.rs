//! Requests for records, namespaces and CRDs.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

const HISTORY: [(u32, RevisionStatus); 2] = [
    (2, RevisionStatus::Superseded),
    (3, RevisionStatus::Deployed),
];

fn record(revision: u32, description: &str, manifest: &str) -> Value {
    let body = json!({
        "name": "web", "namespace": "shop", "version": revision, "manifest": manifest,
        "info": {"status": "deployed", "description": description},
        "chart": {"metadata": {"name": "web", "version": "1.0.0"}},
    });
    let inner = BASE64_STANDARD.encode(body.to_string());
    json!({
        "metadata": {"name": format!("sh.helm.release.v1.web.v{revision}"), "labels":
            {"owner": "helm", "name": "web", "version": revision.to_string(), "status": "deployed"}},
        "type": "helm.sh/release.v1",
        "data": {"release": BASE64_STANDARD.encode(inner)},
    })
}

fn request(operation: &str, resource: &str, kind: (&str, &str)) -> Value {
    json!({
        "uid": "u-1", "operation": operation, "namespace": "shop",
        "kind": {"group": kind.0, "version": "v1", "kind": kind.1},
        "resource": {"group": kind.0, "version": "v1", "resource": resource},
        "userInfo": {"username": "ada", "groups": ["dev"]},
        "options": {},
    })
}

fn of_record(operation: &str, old: Option<Value>, new: Option<Value>) -> Value {
    let mut request = request(operation, "secrets", ("", "Secret"));
    let name = old.as_ref().or(new.as_ref()).unwrap()["metadata"]["name"].clone();
    request["name"] = name;
    request["oldObject"] = old.unwrap_or_default();
    request["object"] = new.unwrap_or_default();
    request
}

fn delete(revision: u32) -> Value {
    of_record("DELETE", Some(record(revision, "", "kind: Secret")), None)
}

fn delete_namespace() -> Value {
    let mut request = request("DELETE", "namespaces", ("", "Namespace"));
    request["name"] = json!("shop");
    request["oldObject"] = json!({"metadata": {"name": "shop"}});
    request
}

fn delete_crd() -> Value {
    let group = "apiextensions.k8s.io";
    let kind = (group, "CustomResourceDefinition");
    let mut request = request("DELETE", "customresourcedefinitions", kind);
    request["namespace"] = json!("");
    request["name"] = json!("backups.example.com");
    request["oldObject"] = json!({"metadata": {"name": "backups.example.com"},
        "spec": {"group": "example.com", "names": {"kind": "Backup"}}});
    request
}

fn holder(name: &str, objects: &[&str]) -> AffectedRelease {
    AffectedRelease {
        claimant: Claimant {
            release: Arc::new(ReleaseName {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            }),
            reach: Reach::Own,
            witnesses: Vec::new(),
        },
        chart: Arc::from("web-1.0.0"),
        revisions: vec![3],
        objects: objects.iter().map(|&object| object.to_owned()).collect(),
    }
}

async fn answer(infrastructure: Infrastructure, request: &Value) -> Value {
    let bench = Setup {
        infrastructure,
        ..Setup::default()
    }
    .start();
    ask(&bench, request).await
}

async fn ask(bench: &Bench, request: &Value) -> Value {
    let post = http::Request::post("/infrastructure?timeout=3s")
        .header("content-type", "application/json")
        .body(Body::from(review_of(request)))
        .unwrap();
    let (status, body) = bench.call(post).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(!body.contains("hunter2"), "{body}");
    let mut review: Value = serde_json::from_str(&body).unwrap();
    review["response"].take()
}

fn message(response: &Value) -> &str {
    assert_eq!(response["allowed"], false, "{response}");
    response["status"]["message"].as_str().unwrap()
}

fn reason(response: &Value) -> &str {
    assert_eq!(response["allowed"], true, "{response}");
    response["auditAnnotations"]["reason"].as_str().unwrap()
}

fn known() -> Infrastructure {
    Infrastructure {
        history: Ok(HISTORY.to_vec()),
        ..Infrastructure::default()
    }
}

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

/// The garbage collector deletes objects whose owner is deleted, and no record declares one.
#[rstest]
#[case::record(
    of_record("UPDATE", Some(record(3, "", "a")), Some(owned(record(3, "", "a")))),
    ".metadata.ownerReferences[uid=1]"
)]
#[case::namespace(updated(delete_namespace(), ""), ".metadata.ownerReferences[uid=1]")]
#[case::namespace_status(
    updated(delete_namespace(), "status"),
    ".metadata.ownerReferences[uid=1]"
)]
#[case::namespace_finalize(
    updated(delete_namespace(), "finalize"),
    ".metadata.ownerReferences[uid=1]"
)]
#[case::definition(updated(delete_crd(), ""), ".metadata.ownerReferences[uid=1]")]
#[tokio::test]
async fn a_new_owner_counts_as_a_deletion(#[case] request: Value, #[case] says: &str) {
    let infrastructure = Infrastructure {
        holders: Ok(vec![holder("web", &["Backup \"daily\""])]),
        ..known()
    };
    let response = answer(infrastructure, &request).await;
    assert!(message(&response).contains(says), "{response}");
    let nobody = answer(Infrastructure::default(), &updated(delete_namespace(), "")).await;
    assert_eq!(reason(&nobody), "not-declared");
    let mut unowned = updated(delete_namespace(), "");
    unowned["object"] = unowned["oldObject"].clone();
    let unowned = answer(known(), &unowned).await;
    assert_eq!(reason(&unowned), "nothing-declared-changes");
}

#[rstest]
#[case::record(delete(3))]
#[case::namespace(delete_namespace())]
#[case::definition(delete_crd())]
#[tokio::test]
async fn the_garbage_collector_is_not_exempt_for_infrastructure(#[case] mut request: Value) {
    let user = "system:serviceaccount:kube-system:generic-garbage-collector";
    request["userInfo"]["username"] = json!(user);
    request["oldObject"] = owned(request["oldObject"].clone());
    let infrastructure = Infrastructure {
        holders: Ok(vec![holder("web", &["Backup \"daily\""])]),
        ..known()
    };
    message(&answer(infrastructure, &request).await);
}

fn owned(mut object: Value) -> Value {
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "no-such", "uid": "1"}]);
    object
}

/// A DELETE turned into an UPDATE that adds an owner.
fn updated(mut delete: Value, subresource: &str) -> Value {
    delete["operation"] = json!("UPDATE");
    delete["subResource"] = json!(subresource);
    delete["object"] = owned(delete["oldObject"].clone());
    delete
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
    assert_eq!(response["auditAnnotations"]["decision"], "break-glass");
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

#[tokio::test]
async fn a_namespace_with_releases_cannot_be_deleted() {
    let infrastructure = Infrastructure {
        holders: Ok(vec![holder("db", &[]), holder("web", &[])]),
        ..known()
    };
    let response = answer(infrastructure, &delete_namespace()).await;
    assert_eq!(
        message(&response),
        "
Namespace \"shop\" holds Helm releases, which would be lost with it:
  Helm release \"db\" in namespace \"shop\" (revision 3, chart web-1.0.0)
  Helm release \"web\" in namespace \"shop\" (revision 3, chart web-1.0.0)
Uninstall them first: helm uninstall db -n shop; helm uninstall web -n shop
In an emergency: helm-guard break-glass open -n shop --reason <reason>"
    );
    let annotations = &response["auditAnnotations"];
    assert_eq!(annotations["reason"], "namespace-holds-releases");
    assert_eq!(annotations["release"], "shop/db, shop/web");
    let causes = response["status"]["details"]["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 2);
}

#[tokio::test]
async fn the_denial_for_a_namespace_with_a_hundred_releases_is_short() {
    let names: Vec<_> = (0..100).map(|n| holder(&format!("r{n}"), &[])).collect();
    let infrastructure = Infrastructure {
        holders: Ok(names),
        ..known()
    };
    let response = answer(infrastructure, &delete_namespace()).await;
    assert!(message(&response).contains("\n  and 84 more\n"));
}

#[rstest]
#[case::empty(Ok(Vec::new()), json!({}), "not-declared")]
#[case::nobody_can_say(Err(()), json!({}), "read-through-failed")]
#[case::switched_off(
    Ok(vec![holder("web", &[])]), json!({"namespaces": "Off", "definitions": "Off"}), "not-judged"
)]
#[case::only_recorded(
    Ok(vec![holder("web", &[])]),
    json!({"namespaces": "Audit", "definitions": "Audit"}),
    "namespace-holds-releases|definition-in-use"
)]
#[tokio::test]
async fn infrastructure_without_dependents_may_be_deleted(
    #[case] holders: Result<Vec<AffectedRelease>, ()>,
    #[case] policy: Value,
    #[case] expected: &str,
) {
    for request in [delete_namespace(), delete_crd()] {
        let infrastructure = Infrastructure {
            holders: holders.clone(),
            policy: policy.clone(),
            ..Infrastructure::default()
        };
        let response = answer(infrastructure, &request).await;
        let reason = reason(&response);
        assert!(expected.split('|').any(|word| word == reason), "{reason}");
    }
}

/// A release with records elsewhere.
fn of_elsewhere(reach: Reach) -> AffectedRelease {
    let mut holder = holder("web", &["Backup \"daily\""]);
    holder.claimant.reach = reach;
    let witness = |name: &str| Witness {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    };
    holder.claimant.witnesses = vec![witness("one"), witness("two")];
    holder
}

fn names(name: &str) -> Sighting {
    Sighting::Names(Some(ReleaseName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }))
}

#[rstest]
#[case::named(
    Reach::Elsewhere,
    Ok(names("web")),
    "namespace-holds-releases",
    "definition-in-use"
)]
#[case::names_another(Reach::Elsewhere, Ok(names("db")), "not-declared", "not-declared")]
#[case::names_nobody(
    Reach::Elsewhere,
    Ok(Sighting::Names(None)),
    "not-declared",
    "not-declared"
)]
#[case::forbidden(
    Reach::Elsewhere,
    Ok(Sighting::Forbidden),
    "read-through-failed",
    "definition-in-use"
)]
#[case::nobody_can_say(Reach::Elsewhere, Err(()), "read-through-failed", "read-through-failed")]
#[case::trusted(
    Reach::Trusted,
    Ok(Sighting::Names(None)),
    "namespace-holds-releases",
    "definition-in-use"
)]
#[case::own(Reach::Own, Err(()), "namespace-holds-releases", "definition-in-use")]
#[tokio::test]
async fn records_elsewhere_count_if_a_live_object_confirms_them(
    #[case] reach: Reach,
    #[case] sighting: Result<Sighting, ()>,
    #[case] of_namespace: &str,
    #[case] of_crd: &str,
) {
    let requests = [(delete_namespace(), of_namespace), (delete_crd(), of_crd)];
    for (request, expected) in requests {
        let infrastructure = Infrastructure {
            holders: Ok(vec![of_elsewhere(reach)]),
            sighting: sighting.clone(),
            ..Infrastructure::default()
        };
        let response = answer(infrastructure, &request).await;
        assert_eq!(response["auditAnnotations"]["reason"], expected);
    }
}

#[rstest]
#[case::unread(Err(()))]
#[case::of_another(Ok(names("db")))]
#[tokio::test]
async fn records_elsewhere_do_not_weaken_a_release_of_the_namespace(
    #[case] sighting: Result<Sighting, ()>,
) {
    let infrastructure = Infrastructure {
        holders: Ok(vec![of_elsewhere(Reach::Elsewhere), holder("api", &[])]),
        sighting,
        ..Infrastructure::default()
    };
    let response = answer(infrastructure, &delete_namespace()).await;
    let said = &response["auditAnnotations"];
    assert_eq!(said["reason"], "namespace-holds-releases");
    assert_eq!(said["release"], "shop/api");
}

#[tokio::test]
async fn terminating_objects_are_not_blocked() {
    for mut request in [delete_namespace(), delete_crd(), delete(3)] {
        request["oldObject"]["metadata"]["deletionTimestamp"] = json!("2026-11-21T03:00:00Z");
        let infrastructure = Infrastructure {
            holders: Ok(vec![holder("web", &[])]),
            ..known()
        };
        let response = answer(infrastructure, &request).await;
        assert_eq!(reason(&response), "nothing-declared-changes");
    }
}

#[tokio::test]
async fn a_crd_with_declared_instances_cannot_be_deleted() {
    let infrastructure = Infrastructure {
        holders: Ok(vec![holder("web", &["Backup \"nightly\""])]),
        ..known()
    };
    let response = answer(infrastructure, &delete_crd()).await;
    assert_eq!(
        message(&response),
        "
CustomResourceDefinition \"backups.example.com\" has instances that Helm releases declare; they \
         would be deleted with it without admission checks:
  Helm release \"web\" in namespace \"shop\" (revision 3, chart web-1.0.0): Backup \"nightly\"
Uninstall them first: helm uninstall web -n shop
In an emergency: helm-guard break-glass open -A --reason <reason>"
    );
}

#[tokio::test]
async fn other_objects_are_not_evaluated_as_infrastructure() {
    let mut plain = delete(3);
    plain["oldObject"]["type"] = json!("Opaque");
    let finalize = with(delete_namespace(), "subResource", json!("finalize"));
    for request in [plain, finalize] {
        let infrastructure = Infrastructure {
            holders: Ok(vec![holder("web", &[])]),
            ..known()
        };
        assert_eq!(
            reason(&answer(infrastructure, &request).await),
            "not-judged"
        );
    }
}
