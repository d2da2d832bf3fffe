//! Secrets that Helm would mistake for release records, in a form that it never writes.
//!
//! Helm finds the records of a release by their labels alone (`pkg/storage/driver/secrets.go`, `Query`),
//! whatever their type and name. It writes them with its own type and a fixed form of name
//! (`pkg/storage/storage.go`, `makeKey`), and the guard accepts no others. So the guard would ignore
//! such a Secret, but the next `helm upgrade` would use it.

use serde::Deserialize;

use super::{Data, RecordObjectMeta};
use crate::{
    compare::{path::FieldPath, redact::ShownValue},
    guard::{
        request::{Kind, Raw},
        verdict::FieldChange,
    },
    helm::storage::{Driver, MetadataError, RecordMeta, SECRET_TYPE},
};

/// A Secret with the labels of a record.
#[derive(Debug)]
pub struct Forged {
    /// The release that Helm would assign it to.
    pub release: String,
    /// The revision, by its label.
    pub revision: u32,
    /// How it differs from a record.
    pub change: FieldChange,
}

impl Forged {
    /// The Secret of a request, if it is forged.
    pub fn of(kind: &Kind<'_>, object: Raw<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct SecretObject {
            metadata: RecordObjectMeta,
            #[serde(default, rename = "type")]
            secret_type: Option<String>,
            #[serde(default)]
            data: Option<Data>,
        }
        if (&*kind.group, &*kind.kind) != ("", "Secret") {
            return None;
        }
        let secret: SecretObject = serde_json::from_str(object.get()).ok()?;
        let labels = secret.metadata.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).map(String::as_str);
        let meta = RecordMeta::from_metadata(Driver::Secret, "", &secret.metadata.name, []);
        let meta = meta.ok().flatten();
        let has_body = secret.data.is_some_and(|data| data.release.is_some());
        if label("owner") != Some("helm") || !(meta.is_some() || has_body) {
            return None;
        }
        let secret_type = secret.secret_type.as_deref().unwrap_or("Opaque");
        let name = &*secret.metadata.name;
        let (path, was, is) = match &meta {
            _ if secret_type != SECRET_TYPE => ("type", SECRET_TYPE.to_owned(), secret_type),
            None => {
                let pattern = "sh.helm.release.v1.<release>.v<revision>";
                ("metadata.name", pattern.to_owned(), name)
            }
            Some(meta) => {
                let pairs = labels.iter().map(|(key, value)| (&**key, &**value));
                match RecordMeta::from_metadata(Driver::Secret, "", name, pairs) {
                    Err(MetadataError::LabelContradictsName { label: "name", .. }) => (
                        "metadata.labels.name",
                        meta.release_name.clone(),
                        label("name").unwrap_or_default(),
                    ),
                    Err(MetadataError::LabelContradictsName { .. }) => (
                        "metadata.labels.version",
                        meta.revision.to_string(),
                        label("version").unwrap_or_default(),
                    ),
                    _ => return None,
                }
            }
        };
        let release = meta.as_ref().map(|meta| meta.release_name.clone());
        let revision = label("version").and_then(|label| label.parse().ok());
        Some(Self {
            release: release.or_else(|| label("name").map(str::to_owned))?,
            revision: meta
                .map(|meta| meta.revision)
                .or(revision)
                .unwrap_or_default(),
            change: FieldChange {
                path: FieldPath::of(path.split('.')),
                declared: ShownValue::Text(was),
                live: ShownValue::Absent,
                requested: ShownValue::Text(is.to_owned()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const NAME: &str = "sh.helm.release.v1.web.v9";

    #[rstest]
    #[case::a_record(NAME, SECRET_TYPE, "helm", None)]
    #[case::of_another_type(NAME, "Opaque", "helm", Some("type"))]
    #[case::of_another_name("web-9", SECRET_TYPE, "helm", Some("metadata.name"))]
    #[case::of_neither("web-9", "Opaque", "helm", Some("type"))]
    #[case::without_the_label(NAME, "Opaque", "somebody", None)]
    #[case::with_the_label_in_another_case(NAME, "Opaque", "Helm", None)]
    #[case::with_the_name_of_another_release(
        "sh.helm.release.v1.api.v9",
        SECRET_TYPE,
        "helm",
        Some("metadata.labels.name")
    )]
    #[case::with_the_number_of_another_revision(
        "sh.helm.release.v1.web.v8",
        SECRET_TYPE,
        "helm",
        Some("metadata.labels.version")
    )]
    fn a_forged_record_is_distinguished_from_a_record(
        #[case] name: &str,
        #[case] secret_type: &str,
        #[case] owner: &str,
        #[case] differs: Option<&str>,
    ) {
        let secret = json!({
            "metadata": {"name": name, "labels": {"owner": owner, "name": "web", "version": "9"}},
            "type": secret_type,
            "data": {"release": "aHVudGVyMg=="},
        })
        .to_string();
        let kind = Kind {
            group: "".into(),
            version: "v1".into(),
            kind: "Secret".into(),
        };
        let forged = Forged::of(&kind, Raw::of(&secret));
        let path = forged.as_ref().map(|forged| forged.change.path.to_string());
        assert_eq!(path, differs.map(|path| format!(".{path}")));
        if let Some(forged) = forged {
            // From its name, if possible.
            let release = if name.contains("api") { "api" } else { "web" };
            let revision = if name.ends_with("v8") { 8 } else { 9 };
            assert_eq!((&*forged.release, forged.revision), (release, revision));
            assert!(!format!("{forged:?}").contains("aHVudGVyMg"));
        }
    }
}
