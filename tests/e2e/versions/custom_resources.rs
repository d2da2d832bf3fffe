//! Custom resources served in two versions, with and without a conversion webhook.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use axum::{Router, body::Bytes, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use helm_guard::webhook::{
    accept::{self, ConnectionLimits, Options, Protocol},
    certificates,
    endpoint::Endpoint,
    tls::{self, ServingCertificate},
};
use serde_json::{Value, json};
use testbed::{Chart, HelmVersion, shared};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

use super::harness::{Scene, entries, guard};
use crate::turn::Turn;

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

#[test]
fn an_edit_of_a_custom_resource_through_another_version_is_compared_with_the_manifest() {
    let turn = Turn::take();
    let (plane, _guard) = (shared(), guard(&turn));
    let namespace = plane.namespace("widget");
    let scene = Scene {
        plane,
        namespace: namespace.name(),
    };
    let crd = crd("widgets", "Widget", None);
    let chart = Chart::new("widget", "1.0.0")
        .crd("crd.yaml", &crd.to_string())
        .template(
            "widget.yaml",
            "apiVersion: example.com/v1beta1\nkind: Widget\nmetadata: {name: web}\nspec: {size: 3}\n",
        );
    let chart = plane.chart(&chart).display().to_string();
    scene.helm(HelmVersion::V3, &["install", "web", &chart]);
    let field = ".spec.size: declared 3, live 3, requested 4";
    let patch = json!({"spec": {"size": 4}});
    scene.await_refusal("widget/web", &patch, field);
    let entry = "widgets.v1beta1.example.com.versions.helm-guard.dev".to_owned();
    assert!(entries(plane).contains(&entry));
    let other = json!({"spec": {"note": "mine"}});
    scene.await_silence("widget/web", &other);
    let passes = scene.patch("widget/web", &other).ok();
    assert_eq!(passes.stderr, "");
}

/// The shapes differ: `.spec.size` of v1beta1 is `.spec.scale.size` of v1.
#[test]
fn the_conversion_webhook_decides_a_field_in_the_version_of_the_manifest() {
    let turn = Turn::take();
    let (plane, _guard) = (shared(), guard(&turn));
    let namespace = plane.namespace("gadget");
    let scene = Scene {
        plane,
        namespace: namespace.name(),
    };
    let conversion = conversion();
    let crd = crd("gadgets", "Gadget", Some(&conversion));
    let chart = Chart::new("gadget", "1.0.0")
        .crd("crd.yaml", &crd.to_string())
        .template(
            "gadget.yaml",
            "apiVersion: example.com/v1beta1\nkind: Gadget\nmetadata: {name: web}\nspec: {size: 3}\n",
        );
    let chart = plane.chart(&chart).display().to_string();
    scene.helm(HelmVersion::V4, &["install", "web", &chart]);
    let field = ".spec.size: declared 3, live 3, requested 4";
    let patch = json!({"spec": {"scale": {"size": 4}}});
    scene.await_refusal("gadget/web", &patch, field);
    let other = json!({"spec": {"scale": {"step": 2}}});
    scene.await_silence("gadget/web", &other);
    let passes = scene.patch("gadget/web", &other).ok();
    assert_eq!(passes.stderr, "");
    scene.helm(HelmVersion::V4, &["upgrade", "web", &chart]);
}

/// A `spec.conversion` that calls this process.
fn conversion() -> Value {
    let (address, ca) = converter();
    json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {
                "url": format!("https://{address}/convert"),
                "caBundle": BASE64_STANDARD.encode(ca),
            },
        },
    })
}

/// Serves conversions until the process ends.
fn converter() -> &'static (SocketAddr, String) {
    static CONVERTER: OnceLock<(Runtime, (SocketAddr, String))> = OnceLock::new();
    let (_, converter) = CONVERTER.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let converter = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let endpoint = Endpoint::from_url(&format!("https://{address}")).unwrap();
            let now = SystemTime::now();
            let pair = certificates::issue(&endpoint, None, now).unwrap();
            let serving = ServingCertificate::new();
            serving.install(&pair, &endpoint.names(), now).unwrap();
            let options = Options {
                protocol: Protocol::Tls(
                    tls::server_config(&serving, tls::HttpVersions::Http1And2.into()).unwrap(),
                ),
                limits: ConnectionLimits::default(),
                stats: Arc::default(),
            };
            let convert = post(|body: Bytes| async move {
                ([("content-type", "application/json")], converted(&body))
            });
            let router = Router::new().route("/convert", convert);
            let never = CancellationToken::new();
            tokio::spawn(accept::serve(listener, router, options, never));
            (address, pair.ca_bundle.unwrap())
        });
        (runtime, converter)
    });
    converter
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
