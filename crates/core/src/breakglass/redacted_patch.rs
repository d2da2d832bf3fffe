//! What an emergency change did to an object, as a patch that may be stored and shown.

use json_patch::PatchOperation;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::guard::{Raw, Request};

/// The longest patch that is kept complete, in bytes of JSON. A log line or an event sink accepts
/// this much; an object may be a hundred times larger.
const PATCH_BYTES: usize = 64 * 1024;

/// The most paths that are kept of a patch that is too long.
const PATHS: usize = 200;

/// Fields that the API server updates with every change: in a patch, they only hide the change.
const NOISE: [&str; 4] = ["managedFields", "resourceVersion", "generation", "uid"];

/// A change to an object, with every Secret value in it masked.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedactedPatch {
    /// From the old object to the new one, RFC 6902; for a scale request, from the old Scale to the
    /// new one. Absent for a delete, and if an object could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Value>>")]
    pub patch: Option<json_patch::Patch>,
    /// The paths of the change, for a patch that is too long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl RedactedPatch {
    /// Computes the change from the two objects of a request. `mask` replaces what may not be shown
    /// in an object of this kind, so that equal values stay equal.
    pub fn of(request: &Request<'_>, mask: impl Fn(&mut Value)) -> Self {
        let read = |raw: Option<Raw<'_>>| -> Option<Value> {
            let mut object = serde_json::from_str(raw?.get()).ok()?;
            strip_noise(&mut object);
            if request.sub_resource == "scale" {
                show_zero(&mut object);
            }
            // Before the comparison: afterwards, it is unknown which values of the patch are
            // secret.
            mask(&mut object);
            Some(object)
        };
        let (Some(old), Some(new)) = (read(request.old_object), read(request.object)) else {
            return Self {
                patch: None,
                paths: Vec::new(),
            };
        };
        let patch = json_patch::diff(&old, &new);
        let bytes = serde_json::to_vec(&patch).map_or(usize::MAX, |json| json.len());
        if bytes <= PATCH_BYTES {
            return Self {
                patch: Some(patch),
                paths: Vec::new(),
            };
        }
        Self {
            patch: None,
            paths: patch.0.iter().take(PATHS).map(path).collect(),
        }
    }
}

fn path(operation: &PatchOperation) -> String {
    operation.path().to_string()
}

/// A Scale to zero has no `spec.replicas` (it is `omitempty`), and a patch that removes the field
/// would not show the requested number.
fn show_zero(scale: &mut Value) {
    if let Some(Value::Object(spec)) = scale.get_mut("spec") {
        spec.entry("replicas").or_insert_with(|| Value::from(0));
    }
}

fn strip_noise(object: &mut Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    object.remove("status");
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        for key in NOISE {
            metadata.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(old: &Value, new: &Value, mask: impl Fn(&mut Value)) -> Value {
        let (old, new) = (old.to_string(), new.to_string());
        let body =
            format!(r#"{{"uid":"u","operation":"UPDATE","object":{new},"oldObject":{old}}}"#);
        let request: Request<'_> = serde_json::from_str(&body).unwrap();
        serde_json::to_value(RedactedPatch::of(&request, mask)).unwrap()
    }

    #[test]
    fn the_patch_leads_from_the_old_object_to_the_new_one_without_noise() {
        let old = json!({"metadata": {"name": "web", "resourceVersion": "1", "generation": 1,
            "managedFields": [{"manager": "helm"}]}, "spec": {"replicas": 3}, "status": {"a": 1}});
        let new = json!({"metadata": {"name": "web", "resourceVersion": "2", "generation": 2,
            "managedFields": []}, "spec": {"replicas": 0, "paused": true}, "status": {"a": 2}});
        assert_eq!(
            change(&old, &new, |_| ()),
            json!({"patch": [
                {"op": "add", "path": "/spec/paused", "value": true},
                {"op": "replace", "path": "/spec/replicas", "value": 0},
            ]})
        );
    }

    #[test]
    fn what_is_masked_never_reaches_the_patch() {
        let mask = |object: &mut Value| {
            for value in object["data"].as_object_mut().unwrap().values_mut() {
                *value = Value::from(format!("len {}", value.to_string().len()));
            }
        };
        let old = json!({"data": {"same": "aHVudGVyMg==", "other": "b2xk"}});
        let new = json!({"data": {"same": "aHVudGVyMg==", "other": "aHVudGVyMw=="}});
        let change = change(&old, &new, mask);
        assert_eq!(
            change,
            json!({"patch": [{"op": "replace", "path": "/data/other", "value": "len 14"}]})
        );
    }

    #[test]
    fn a_patch_that_is_too_long_keeps_its_paths() {
        let old = json!({"data": {"a": "", "b": "x"}});
        let new = json!({"data": {"a": "y".repeat(PATCH_BYTES), "b": "x"}});
        assert_eq!(change(&old, &new, |_| ()), json!({"paths": ["/data/a"]}));
    }

    #[test]
    fn a_scale_to_zero_shows_zero() {
        let body = r#"{"uid":"u","operation":"UPDATE","subResource":"scale",
            "oldObject":{"spec":{"replicas":3}},"object":{"spec":{}}}"#;
        let request: Request<'_> = serde_json::from_str(body).unwrap();
        let change = RedactedPatch::of(&request, |_| ());
        assert_eq!(
            serde_json::to_value(change).unwrap(),
            json!({"patch": [{"op": "replace", "path": "/spec/replicas", "value": 0}]})
        );
    }

    #[test]
    fn a_delete_has_no_patch() {
        let body = r#"{"uid":"u","operation":"DELETE","object":null,"oldObject":{"a":1}}"#;
        let request: Request<'_> = serde_json::from_str(body).unwrap();
        let change = RedactedPatch::of(&request, |_| ());
        assert_eq!(serde_json::to_value(change).unwrap(), json!({}));
    }
}
