//! Writes admission reviews as an API server does.
//!
//! The order of the fields is that of the API server's Go types, with `uid` first: what reads only a
//! part of a review, as the null webhook does, depends on it.

use serde::Serialize;
use serde_json::{Value, json};

/// What a review is about; the uid is made from `number`.
#[derive(Clone, Debug)]
pub struct Review<'a> {
    /// Different reviews have different numbers.
    pub number: usize,
    /// `CREATE`, `UPDATE`, `DELETE`.
    pub operation: &'a str,
    /// Group, version, kind, resource of the object: `apps`, `v1`, `Deployment`, `deployments`.
    pub of: [&'a str; 4],
    /// `scale`, or nothing.
    pub sub_resource: &'a str,
    /// Who asks.
    pub user: &'a str,
    /// The field manager of the request, where there is one.
    pub manager: &'a str,
    /// The object after the request; null for a DELETE.
    pub object: &'a Value,
    /// The object before.
    pub old_object: &'a Value,
}

#[derive(Serialize)]
struct Envelope<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    request: Asked<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    uid: String,
    kind: Value,
    resource: Value,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub_resource: &'a str,
    request_kind: Value,
    request_resource: Value,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_sub_resource: &'a str,
    name: &'a Value,
    namespace: &'a Value,
    operation: &'a str,
    user_info: Value,
    object: &'a Value,
    old_object: &'a Value,
    dry_run: bool,
    options: Value,
}

impl Review<'_> {
    /// The uid of the review.
    pub fn uid(&self) -> String {
        format!("705ab4f5-6393-11e8-b7cc-{:012x}", self.number)
    }

    /// The body of the request to a webhook.
    pub fn body(&self) -> Vec<u8> {
        let [group, version, kind, resource] = self.of;
        let object_kind = match self.sub_resource {
            "scale" => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
            _ => json!({"group": group, "version": version, "kind": kind}),
        };
        let resource = json!({"group": group, "version": version, "resource": resource});
        let metadata = &self.old_object["metadata"];
        let mut options = json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"});
        if self.operation == "DELETE" {
            options["kind"] = "DeleteOptions".into();
        }
        if !self.manager.is_empty() {
            options["fieldManager"] = self.manager.into();
        }
        let envelope = Envelope {
            kind: "AdmissionReview",
            api_version: "admission.k8s.io/v1",
            request: Asked {
                uid: self.uid(),
                kind: object_kind.clone(),
                resource: resource.clone(),
                sub_resource: self.sub_resource,
                request_kind: object_kind,
                request_resource: resource,
                request_sub_resource: self.sub_resource,
                name: &metadata["name"],
                namespace: &metadata["namespace"],
                operation: self.operation,
                user_info: json!({
                    "username": self.user, "groups": ["system:authenticated"],
                    "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=0a1b2c"]},
                }),
                object: self.object,
                old_object: self.old_object,
                dry_run: false,
                options,
            },
        };
        // Values and strings always have a JSON text.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

/// A copy with some values set. `pointer` is a JSON pointer whose parent has to be there.
///
/// # Panics
/// When it is not.
pub fn edited(object: &Value, edits: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (pointer, value) in edits {
        let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
        let parent = object.pointer_mut(parent);
        let parent = parent.unwrap_or_else(|| panic!("{pointer} has no parent"));
        parent[field] = value.clone();
    }
    object
}
