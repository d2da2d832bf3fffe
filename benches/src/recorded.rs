//! Reviews that a real API server sent, from the folder of recordings that `HELM_GUARD_REVIEWS` names. Without
//! it, only the generated streams are measured.
//!
//! The recordings contain every request. The guard's registration filters them, and so does [`load`].

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::Value;

use crate::{api::Records, release::Revision};

/// The part of a recording that concerns the guard.
pub struct Recording {
    /// The reviews that match the registration.
    pub reviews: Vec<Bytes>,
    /// The last state of each record that was seen: namespace, release, revision, payload.
    records: BTreeMap<(String, String, u32), (&'static str, String)>,
}

impl Recording {
    /// Adds the records that the reviews are evaluated against.
    pub fn add_records(&self, records: &mut Records) {
        for ((namespace, release, revision), (status, payload)) in &self.records {
            let revision: Revision = (*revision, status);
            records.add(namespace, release, revision, payload);
        }
    }
}

/// Reads the recordings, if a folder is set.
pub fn load() -> Result<Option<Recording>> {
    let Some(folder) = std::env::var_os("HELM_GUARD_REVIEWS").map(PathBuf::from) else {
        return Ok(None);
    };
    let entries = fs::read_dir(&folder)
        .with_context(|| format!("failed to read HELM_GUARD_REVIEWS={}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    files.sort();
    let mut recording = Recording {
        reviews: Vec::new(),
        records: BTreeMap::new(),
    };
    for file in &files {
        let text = fs::read_to_string(file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        for line in text.lines() {
            let review: Value = serde_json::from_str(line)
                .with_context(|| format!("failed to read {}", file.display()))?;
            recording.take(&review["request"], line);
        }
    }
    Ok((!recording.reviews.is_empty()).then_some(recording))
}

impl Recording {
    fn take(&mut self, request: &Value, line: &str) {
        if let Some((key, record)) = record_of(&request["object"]) {
            self.records.insert(key, record);
        }
        if is_let_through(request) {
            self.reviews.push(Bytes::copy_from_slice(line.as_bytes()));
        }
    }
}

/// A record in the API server, unless its release is being uninstalled. All reviews of a life
/// cycle are evaluated against one state, the last one before the end.
#[allow(clippy::type_complexity, reason = "a key and its value")]
fn record_of(object: &Value) -> Option<((String, String, u32), (&'static str, String))> {
    if object["type"] != "helm.sh/release.v1" {
        return None;
    }
    let metadata = &object["metadata"];
    let labels = &metadata["labels"];
    let status = ["deployed", "superseded", "failed", "pending-upgrade"]
        .into_iter()
        .find(|status| labels["status"] == *status)?;
    let payload = BASE64_STANDARD.decode(object["data"]["release"].as_str()?);
    let key = (
        metadata["namespace"].as_str()?.to_owned(),
        labels["name"].as_str()?.to_owned(),
        labels["version"].as_str()?.parse().ok()?,
    );
    Some((key, (status, String::from_utf8(payload.ok()?).ok()?)))
}

/// Whether the rules, selectors and match conditions of the registration match.
fn is_let_through(request: &Value) -> bool {
    let operation = request["operation"].as_str().unwrap_or_default();
    let resource = request["resource"]["resource"].as_str().unwrap_or_default();
    let user = request["userInfo"]["username"].as_str().unwrap_or_default();
    match request["subResource"].as_str().unwrap_or_default() {
        "scale" => operation == "UPDATE",
        "" => {
            let is_copy = matches!(
                resource,
                "pods" | "endpoints" | "replicasets" | "endpointslices"
            ) && user.starts_with("system:serviceaccount:kube-system:");
            let label = "/metadata/labels/app.kubernetes.io~1managed-by";
            let is_labelled = ["object", "oldObject"].iter().any(|object| {
                request[object]
                    .pointer(label)
                    .is_some_and(|of| of == "Helm")
            });
            matches!(operation, "UPDATE" | "DELETE") && is_labelled && !is_copy
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_outside_the_registration_are_not_sent() {
        let request = |operation: &str, resource: &str, sub_resource: &str, user: &str| {
            json!({
                "operation": operation, "resource": {"resource": resource},
                "subResource": sub_resource, "userInfo": {"username": user},
                "oldObject": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}},
            })
        };
        let controller = "system:serviceaccount:kube-system:replicaset-controller";
        let table = [
            (request("UPDATE", "deployments", "", "alice"), true),
            (request("UPDATE", "deployments", "scale", "alice"), true),
            (request("DELETE", "pods", "", "alice"), true),
            (request("DELETE", "pods", "", controller), false),
            (
                request("UPDATE", "deployments", "status", controller),
                false,
            ),
            (request("CREATE", "deployments", "", "alice"), false),
            (
                json!({"operation": "UPDATE", "resource": {"resource": "secrets"}}),
                false,
            ),
        ];
        for (request, expected) in table {
            assert_eq!(is_let_through(&request), expected, "{request}");
        }
    }
}
