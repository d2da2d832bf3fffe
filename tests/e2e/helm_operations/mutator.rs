//! A typical mutating webhook: it rewrites images to a mirror, and adds a toleration for a node pool.
//! All tests of this program share it; it applies to namespaces that opt in.

use std::sync::OnceLock;

use axum::{Router, body::Bytes, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use testbed::shared;

use crate::{
    https::HttpsServer,
    scene::{Scene, eventually},
};

pub const MIRROR: &str = "mirror.example.com/";

/// From now on the webhook is called for writes to this namespace.
pub fn mutates(scene: &Scene) {
    static SERVER: OnceLock<HttpsServer> = OnceLock::new();
    SERVER.get_or_init(serve);
    let label = format!("label namespace {} images=mirrored", scene.ns);
    scene.kubectl_as(shared().admin(), &label).ok();
    eventually("a Deployment that the webhook rewrites", || {
        let line = "create deployment probe --image=nginx --dry-run=server -o json";
        let probe = scene.kubectl(line).ok().json();
        let image = &probe["spec"]["template"]["spec"]["containers"][0]["image"];
        (*image == format!("{MIRROR}nginx")).then_some(())
    });
}

fn serve() -> HttpsServer {
    let answer = post(|body: Bytes| async move { answer(&body).to_string() });
    let server = HttpsServer::start(Router::new().route("/mutate", answer));
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "image-mirror"},
        "webhooks": [{
            "name": "images.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {
                "url": format!("{}/mutate", server.url),
                "caBundle": BASE64_STANDARD.encode(&server.ca),
            },
            "namespaceSelector": {"matchLabels": {"images": "mirrored"}},
            "rules": [{
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["deployments"],
            }],
        }],
    });
    let kubectl = shared().kubectl().cmd(shared().admin());
    kubectl
        .args(["apply", "-f", "-"])
        .stdin(configuration.to_string())
        .ok();
    server
}

fn answer(body: &[u8]) -> Value {
    let review: Value = serde_json::from_slice(body).unwrap();
    let request = &review["request"];
    let patch = json!(rewritten(&request["object"]["spec"]["template"]["spec"]));
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": request["uid"],
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": BASE64_STANDARD.encode(patch.to_string()),
        },
    })
}

fn rewritten(pod: &Value) -> Vec<Value> {
    let at = "/spec/template/spec";
    let list = |name: &str| pod[name].as_array().cloned().unwrap_or_default();
    let mut operations = Vec::new();
    for (index, container) in list("containers").iter().enumerate() {
        let image = container["image"].as_str().unwrap();
        if !image.starts_with(MIRROR) {
            let path = format!("{at}/containers/{index}/image");
            let image = format!("{MIRROR}{image}");
            operations.push(json!({"op": "replace", "path": path, "value": image}));
        }
    }
    let pool = json!({"key": "pool", "operator": "Exists", "effect": "NoSchedule"});
    let mut tolerations = list("tolerations");
    if !tolerations.contains(&pool) {
        tolerations.push(pool);
        let path = format!("{at}/tolerations");
        operations.push(json!({"op": "add", "path": path, "value": tolerations}));
    }
    operations
}
