//! What is reported of a request, in the same words everywhere: audit lines, `check`, `explain`, emergency
//! changes and alerts are made of these types.
//!
//! Invariants
//! - Values are JSON. A value that does not exist is absent, never `null`. Of a value that is not shown as it is,
//!   there is a text: the keyed hash of a Secret's value (`<redacted 05d210d8>`), the beginning of a long one, or
//!   words. Then [`ReportedField::described`] says so, because the text could be a value too.
//! - Emergency changes are stored in these types, so an older form of one stays readable ([`StoredField`]).
//!
//! The constructors are where the values come from: `guard::reporting`. What each field means is in
//! docs/output.md, and docs/schema has the JSON schema.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The verdicts, in the order of [`crate::guard::Decision`].
pub const VERDICTS: [&str; 7] = [
    "allowed",
    "indeterminate",
    "fail-closed",
    "denied",
    "warned",
    "audited",
    "break-glass",
];

/// What was answered, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedVerdict {
    /// What was answered.
    #[schemars(schema_with = "verdicts")]
    pub verdict: &'static str,
    /// Why. The names are an interface: new ones may be added.
    pub reason: &'static str,
    /// The preset, exemption or ignored field of the policy that covers the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<String>,
}

/// Who made a request, after impersonation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedUser {
    /// The user name that the API server authenticated.
    pub user: String,
    /// The user's groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// ID of the token of an emergency identity, as in the API server's audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<String>,
}

/// The object of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedObject {
    /// Group and version, as in a manifest: `apps/v1`.
    pub api_version: String,
    /// Kind, as in a manifest: `Deployment`.
    pub kind: String,
    /// Namespace; absent for a cluster-scoped object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The subresource of the request: `scale`, `eviction`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// UID before the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// resourceVersion before the change. It is still the same if the change was never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// `Deployment shop/web`
impl fmt::Display for ReportedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// The release that declares an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedRelease {
    /// Namespace of the release.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `name-version` of its chart.
    pub chart: String,
    /// Newest active revision at that time. A later one can resolve an emergency change.
    pub revision: u32,
    /// Whether Helm uses server-side apply for this release. If so, an upgrade or rollback to a value other
    /// than the changed one fails with a conflict, unless `--force-conflicts` is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server_side_apply: bool,
}

/// `shop/myapp`
impl fmt::Display for ReportedRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReportedValue {
    /// The value in the manifest of an active revision.
    Declared,
    /// The one before the request.
    Live,
    /// The value after the request.
    Requested,
}

/// One field of an object: what is declared, what it is, and what a request would make it. Values are JSON. A
/// value that does not exist is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", from = "StoredField")]
pub struct ReportedField {
    /// Path of the field, as denials show it: `.spec.replicas`.
    pub path: String,
    /// The value that the manifest declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub declared: Option<Value>,
    /// The value of the object before the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub live: Option<Value>,
    /// The value that the request sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub requested: Option<Value>,
    /// The values that are described instead of shown: a redacted value of a Secret, the beginning of a long
    /// value, or words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub described: Vec<ReportedValue>,
}

impl ReportedField {
    /// Whether a value is described instead of shown.
    pub fn is_described(&self, value: ReportedValue) -> bool {
        self.described.contains(&value)
    }
}

/// What one release objects to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedFinding {
    /// The release that declares the fields or the object.
    pub release: ReportedRelease,
    /// Its active revisions that were compared, newest first.
    pub revisions: Vec<u32>,
    /// The declared fields that change; empty if the object is deleted.
    pub fields: Vec<ReportedField>,
}

/// A [`ReportedField`] as it is stored in an `EmergencyChange`. Until the first release the values were JSON
/// text, and those before and after the change were `old` and `new`. They stay in the schema, because the API server
/// drops what its schema does not have when it reads an object from etcd.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredField {
    /// Path of the field, as denials show it: `.spec.replicas`.
    path: String,
    /// The value that the manifest declares.
    #[serde(default)]
    #[schemars(schema_with = "any_value")]
    declared: Option<Value>,
    /// The value of the object before the change.
    #[serde(default)]
    #[schemars(schema_with = "any_value")]
    live: Option<Value>,
    /// The value after the change.
    #[serde(default)]
    #[schemars(schema_with = "any_value")]
    requested: Option<Value>,
    /// The values that are described instead of shown: a redacted value of a Secret, the beginning of a long
    /// value, or words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    described: Vec<ReportedValue>,
    /// The former name of `live`, as JSON text. Not written any more.
    #[serde(default)]
    old: Option<String>,
    /// The former name of `requested`, as JSON text. Not written any more.
    #[serde(default)]
    new: Option<String>,
}

impl From<StoredField> for ReportedField {
    fn from(stored: StoredField) -> Self {
        if stored.old.is_some() || stored.new.is_some() {
            let declared = stored.declared.as_ref().and_then(Value::as_str);
            return Self::of_texts(
                stored.path,
                [declared, stored.old.as_deref(), stored.new.as_deref()],
            );
        }
        Self {
            path: stored.path,
            declared: stored.declared,
            live: stored.live,
            requested: stored.requested,
            described: stored.described,
        }
    }
}

impl ReportedField {
    /// A field with the declared, the live and the requested value as texts, as messages show them. A text that
    /// is not JSON is a description.
    pub fn of_texts(path: String, texts: [Option<&str>; 3]) -> Self {
        let mut described = Vec::new();
        let mut read = |text: Option<&str>, value| {
            let text = text?;
            Some(serde_json::from_str(text).unwrap_or_else(|_| {
                described.push(value);
                Value::from(text)
            }))
        };
        let [declared, live, requested] = texts;
        Self {
            path,
            declared: read(declared, ReportedValue::Declared),
            live: read(live, ReportedValue::Live),
            requested: read(requested, ReportedValue::Requested),
            described,
        }
    }
}

/// A value of any type. The API server must not drop what is in it.
fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

fn verdicts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": VERDICTS})
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::as_written_now(
        json!({"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 0}),
        json!({"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 0})
    )]
    #[case::as_text(
        json!({"path": ".spec.replicas", "declared": "3", "old": "3", "new": "0"}),
        json!({"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 0})
    )]
    #[case::quoted_text(
        json!({"path": ".data.a", "declared": "\"3\"", "old": "\"3\"", "new": "{\"b\":[1]}"}),
        json!({"path": ".data.a", "declared": "3", "live": "3", "requested": {"b": [1]}})
    )]
    #[case::added_as_text(
        json!({"path": ".data.a", "declared": "3", "new": "true"}),
        json!({"path": ".data.a", "declared": 3, "requested": true})
    )]
    #[case::redacted_text(
        json!({"path": ".data.a", "declared": "<redacted 05d210d8>", "old": "<redacted 05d210d8>"}),
        json!({"path": ".data.a", "declared": "<redacted 05d210d8>", "live": "<redacted 05d210d8>",
            "described": ["declared", "live"]})
    )]
    #[case::a_string_that_is_json(
        json!({"path": ".data.a", "declared": "3", "live": "3", "requested": "true"}),
        json!({"path": ".data.a", "declared": "3", "live": "3", "requested": "true"})
    )]
    #[case::a_string_like_a_redacted_one(
        json!({"path": ".data.a", "live": "<redacted 05d210d8>"}),
        json!({"path": ".data.a", "live": "<redacted 05d210d8>"})
    )]
    #[case::described(
        json!({"path": ".data.a", "live": "<redacted 05d210d8>", "described": ["live"]}),
        json!({"path": ".data.a", "live": "<redacted 05d210d8>", "described": ["live"]})
    )]
    #[case::null_is_absent(
        json!({"path": ".data.a", "declared": null, "requested": "x"}),
        json!({"path": ".data.a", "requested": "x"})
    )]
    fn a_stored_field_is_read_in_its_old_and_new_form(
        #[case] stored: Value,
        #[case] expected: Value,
    ) {
        let field: ReportedField = serde_json::from_value(stored).unwrap();
        assert_eq!(serde_json::to_value(&field).unwrap(), expected);
        let again: ReportedField = serde_json::from_value(expected).unwrap();
        assert_eq!(again, field);
    }

    #[test]
    fn objects_and_releases_have_short_names() {
        let mut object = ReportedObject {
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            ..ReportedObject::default()
        };
        assert_eq!(object.to_string(), "Deployment shop/web");
        object.namespace.clear();
        assert_eq!(object.to_string(), "Deployment web");
        let release = ReportedRelease {
            namespace: "shop".to_owned(),
            name: "myapp".to_owned(),
            ..ReportedRelease::default()
        };
        assert_eq!(release.to_string(), "shop/myapp");
    }
}
