//! Custom resources served in two versions, with and without a conversion webhook.

use std::sync::OnceLock;

use axum::{Router, body::Bytes, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use testbed::{Chart, HelmVersion};

use super::harness::{await_refusal, await_silence, entries, guard};
use crate::{https::HttpsServer, scene::Scene, turn::Turn};

/// A CRD with v1 (stored) and v1beta1; nothing of `spec` is pruned.
pub(crate) fn crd(plural: &str, kind: &str, conversion: Option<&Value>) -> Value {
    let version = |name: &str| {
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "conversion": conversion.unwrap_or(&json!({"strategy": "None"})),
            "versions": [version("v1"), version("v1beta1")],
        },
    })
}

/// A chart with this CRD, and one object of the kind with `size: 3`, in v1beta1.
pub(crate) fn chart(kind: &str, crd: &Value) -> Chart {
    let object = format!(
        "apiVersion: example.com/v1beta1\nkind: {kind}\nmetadata: {{name: web}}\nspec: {{size: 3}}\n"
    );
    Chart::new(&kind.to_lowercase(), "1.0.0")
        .crd("crd.yaml", &crd.to_string())
        .template("object.yaml", &object)
}

#[test]
fn an_edit_of_a_custom_resource_through_another_version_is_compared_with_the_manifest() {
    let turn = Turn::take();
    let _guard = guard(&turn);
    let scene = Scene::new("widget", HelmVersion::V3);
    scene.install("web", &chart("Widget", &crd("widgets", "Widget", None)));
    let field = ".spec.size: declared 3, live 3, requested 4";
    await_refusal(&scene, "widget/web", &json!({"spec": {"size": 4}}), field);
    let entry = "widgets.v1beta1.example.com.versions.helm-guard.dev".to_owned();
    assert!(entries().contains(&entry));
    let other = json!({"spec": {"note": "mine"}});
    await_silence(&scene, "widget/web", &other);
    let passes = scene.patch("widget/web", "merge", &other).ok();
    assert_eq!(passes.stderr, "");
}

/// The shapes differ: `.spec.size` of v1beta1 is `.spec.scale.size` of v1.
#[test]
fn the_conversion_webhook_decides_a_field_in_the_version_of_the_manifest() {
    let turn = Turn::take();
    let _guard = guard(&turn);
    let scene = Scene::new("gadget", HelmVersion::V4);
    let crd = crd("gadgets", "Gadget", Some(&conversion()));
    let chart = scene.install("web", &chart("Gadget", &crd));
    let field = ".spec.size: declared 3, live 3, requested 4";
    let patch = json!({"spec": {"scale": {"size": 4}}});
    await_refusal(&scene, "gadget/web", &patch, field);
    let other = json!({"spec": {"scale": {"step": 2}}});
    await_silence(&scene, "gadget/web", &other);
    let passes = scene.patch("gadget/web", "merge", &other).ok();
    assert_eq!(passes.stderr, "");
    scene.helm(&format!("upgrade web {}", chart.display())).ok();
}

/// A `spec.conversion` that calls this process.
fn conversion() -> Value {
    let converter = converter();
    json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {
                "url": format!("{}/convert", converter.url),
                "caBundle": BASE64_STANDARD.encode(&converter.ca),
            },
        },
    })
}

/// Serves conversions until the process ends.
fn converter() -> &'static HttpsServer {
    static CONVERTER: OnceLock<HttpsServer> = OnceLock::new();
    CONVERTER.get_or_init(|| {
        let convert = post(|body: Bytes| async move {
            ([("content-type", "application/json")], converted(&body))
        });
        HttpsServer::start(Router::new().route("/convert", convert))
    })
}

fn converted(body: &[u8]) -> String {
    let mut review: Value = serde_json::from_slice(body).unwrap();
    let mut request = review["request"].take();
    let version = request["desiredAPIVersion"].take();
    let mut objects = request["objects"].take();
    for object in objects.as_array_mut().unwrap() {
        if object["apiVersion"] == version {
            continue;
        }
        let spec = object["spec"].as_object_mut().unwrap();
        if version == "example.com/v1" {
            let size = spec.remove("size").unwrap_or_default();
            let step = spec.remove("step");
            let mut scale = json!({"size": size});
            if let Some(step) = step {
                scale["step"] = step;
            }
            spec.insert("scale".to_owned(), scale);
        } else if let Some(Value::Object(scale)) = spec.remove("scale") {
            spec.extend(scale);
        }
        object["apiVersion"] = version.clone();
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {
            "uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects,
        },
    })
    .to_string()
}
