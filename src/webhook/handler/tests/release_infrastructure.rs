//! Requests for records, namespaces and CRDs.

mod dependents;
mod records;

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
