//! Deletions: single objects, collections, and POST requests to subresources.

use serde_json::{Value, json};

use super::Strike;
use crate::{
    request::Verb,
    target::{MANAGED_BY, Role, Target},
};

/// Every way to delete, and every POST to a subresource.
pub fn strikes(target: &Target) -> Vec<Strike> {
    let name = target.place.name.as_deref().unwrap_or_default();
    let options = |fields: Value| {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        for (field, value) in fields.as_object().into_iter().flatten() {
            options[field] = value.clone();
        }
        Some(options)
    };
    let delete = |name: &str, body| Strike::body(name, Verb::Delete, target.place.clone(), body);
    let mut strikes = vec![
        delete(
            "delete",
            options(json!({"propagationPolicy": "Background"})),
        ),
        delete(
            "delete, orphans left",
            options(json!({"propagationPolicy": "Orphan"})),
        ),
        delete(
            "delete, in the foreground",
            options(json!({"propagationPolicy": "Foreground"})),
        ),
        delete("delete, at once", options(json!({"gracePeriodSeconds": 0}))),
    ];
    if target.role != Role::Record {
        strikes.push(delete("delete, without options", None));
    }
    if target.kind != "Namespace" {
        let by = |name: &str, query: String| Strike {
            query,
            ..Strike::body(
                name,
                Verb::DeleteCollection,
                target.place.collection(),
                None,
            )
        };
        strikes.push(by(
            "deletecollection by name",
            format!("fieldSelector=metadata.name%3D{name}"),
        ));
        if target.role == Role::Declared {
            strikes.push(by(
                "deletecollection by label",
                format!("labelSelector={}%3DHelm", MANAGED_BY.replace('/', "%2F")),
            ));
        }
    }
    for sub in &target.subresources {
        let place = target.place.sub(&sub.name);
        if sub.takes("create") {
            let body = posted(target, &sub.name);
            strikes.push(Strike::body(
                sub.name.clone(),
                Verb::Create,
                place.clone(),
                Some(body),
            ));
        }
        if sub.takes("delete") {
            let name = format!("delete of {}", sub.name);
            strikes.push(Strike::body(name, Verb::Delete, place, None));
        }
    }
    strikes
}

/// The body for a subresource.
fn posted(target: &Target, sub: &str) -> Value {
    let name = target.place.name.as_deref().unwrap_or_default();
    let metadata = json!({"name": name, "namespace": target.place.namespace});
    match sub {
        "eviction" => json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}),
        "binding" => json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node-a"},
        }),
        "token" => json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["nobody"]},
        }),
        _ => json!({}),
    }
}
