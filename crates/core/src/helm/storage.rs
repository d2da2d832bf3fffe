//! What the metadata of a release record contains, without its body.
//!
//! Helm stores one object for each revision, named `sh.helm.release.v1.<release>.v<revision>`
//! (`pkg/storage/storage.go`), and sets the labels `name`, `status` and `version` last, so that
//! they always agree with the body. So an index over metadata is correct, and cheap.
//!
//! Invariants
//! - The object's name identifies the revision; a label that contradicts it is an error.
//! - Custom labels (`helm --labels`) and the unreliable `createdAt`/`modifiedAt` have no effect.
//!
//! Start at [`RecordMeta::from_metadata`].

use std::fmt;

use crate::helm::lifecycle::RevisionStatus;

/// The prefix of the names of all release records.
pub(crate) const NAME_PREFIX: &str = "sh.helm.release.v1.";

/// The data key that holds a record's body, in Secrets and `ConfigMap`s alike.
pub const DATA_KEY: &str = "release";

/// The type of Secrets that hold records (`pkg/storage/driver/secrets.go`). A Secret of another type with
/// the labels of a record is not a record: its type cannot change.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";

/// The label selector of every release record; Helm 2 wrote `OWNER=TILLER` and is not matched.
pub const LABEL_SELECTOR: &str = "owner=helm";

/// The kind of object that a record is stored in (`HELM_DRIVER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Driver {
    /// `secret`, the default.
    Secret,
    /// `configmap`.
    ConfigMap,
}

impl Driver {
    /// The kind of the object.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A release record, from its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// The release's name.
    pub release_name: String,
    /// The namespace of the record. The release's own namespace is in the body and may be another
    /// one (Flux `storageNamespace`).
    pub storage_namespace: String,
    /// Revision number, from 1.
    pub revision: u32,
    /// The `status` label; [`RevisionStatus::Unknown`] if it is missing.
    pub status: RevisionStatus,
    /// The kind of object that stores the record.
    pub driver: Driver,
    /// The name of the Secret or ConfigMap.
    pub object_name: String,
}

/// Why an object with the label and name of a release record is not accepted as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The name has Helm's prefix, but no release and revision after it.
    #[error("failed to read a release and a revision from the name of {driver} {object_name:?}")]
    Name {
        /// What kind of object.
        driver: Driver,
        /// Its name.
        object_name: String,
    },
    /// A label names another release or another revision than the object's name.
    #[error("failed to trust {driver} {object_name:?}: its label {label:?} contradicts its name")]
    LabelContradictsName {
        /// What kind of object.
        driver: Driver,
        /// Its name.
        object_name: String,
        /// The label's key.
        label: &'static str,
    },
}

impl RecordMeta {
    /// Reads the metadata of an object that carries the label `owner=helm`.
    ///
    /// `Ok(None)` for an object that is not a record of Helm 3 or 4: something else with the label,
    /// or a record of Helm 2.
    pub fn from_metadata<'a>(
        driver: Driver,
        namespace: &str,
        object_name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, MetadataError> {
        let Some(rest) = object_name.strip_prefix(NAME_PREFIX) else {
            return Ok(None);
        };
        let Some((release_name, revision)) = release_and_revision(rest) else {
            return Err(MetadataError::Name {
                driver,
                object_name: object_name.to_owned(),
            });
        };
        let contradiction = |label| MetadataError::LabelContradictsName {
            driver,
            object_name: object_name.to_owned(),
            label,
        };
        let mut status = RevisionStatus::Unknown;
        for (key, value) in labels {
            match key {
                "name" if value != release_name => return Err(contradiction("name")),
                "version" if revision_number(value) != Some(revision) => {
                    return Err(contradiction("version"));
                }
                "status" => status = RevisionStatus::from_word(value),
                _ => {}
            }
        }
        Ok(Some(Self {
            release_name: release_name.to_owned(),
            storage_namespace: namespace.to_owned(),
            revision,
            status,
            driver,
            object_name: object_name.to_owned(),
        }))
    }
}

/// The name of the object that holds a revision's record.
pub fn record_name(release: &str, revision: u32) -> String {
    format!("{NAME_PREFIX}{release}.v{revision}")
}

/// Splits `<release>.v<revision>`; a release's name may hold `.v` itself.
fn release_and_revision(rest: &str) -> Option<(&str, u32)> {
    let (release, revision) = rest.rsplit_once(".v")?;
    let revision = revision_number(revision)?;
    (!release.is_empty()).then_some((release, revision))
}

/// A revision as Helm prints it (`%d`): no sign, no leading zero, at least 1.
fn revision_number(digits: &str) -> Option<u32> {
    digits
        .starts_with(|c: char| matches!(c, '1'..='9'))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(
        object_name: &str,
        labels: &[(&'static str, &'static str)],
    ) -> Result<Option<RecordMeta>, MetadataError> {
        RecordMeta::from_metadata(Driver::Secret, "shop", object_name, labels.iter().copied())
    }

    #[test]
    fn a_record_is_read_from_its_name_and_status() {
        let labels = [
            ("name", "web"),
            ("owner", "helm"),
            ("status", "pending-upgrade"),
            ("version", "12"),
            ("createdAt", "1700000000"),
        ];
        assert_eq!(
            read("sh.helm.release.v1.web.v12", &labels).unwrap(),
            Some(RecordMeta {
                release_name: "web".into(),
                storage_namespace: "shop".into(),
                revision: 12,
                status: RevisionStatus::PendingUpgrade,
                driver: Driver::Secret,
                object_name: "sh.helm.release.v1.web.v12".into(),
            })
        );
    }

    #[test]
    fn custom_and_missing_labels_have_no_effect() {
        let bare = read("sh.helm.release.v1.web.v1", &[("status", "deployed")]);
        let dressed = read(
            "sh.helm.release.v1.web.v1",
            &[("team", "a"), ("status", "deployed"), ("Version", "9")],
        );
        assert_eq!(bare, dressed);
        assert_eq!(bare.unwrap().unwrap().status, RevisionStatus::Deployed);
    }

    #[test]
    fn a_missing_or_unknown_status_is_unknown_so_that_the_revision_still_guards() {
        for labels in [&[][..], &[("status", "resting")]] {
            let meta = read("sh.helm.release.v1.web.v1", labels).unwrap().unwrap();
            assert_eq!(meta.status, RevisionStatus::Unknown);
        }
    }

    #[rstest]
    #[case::dots("sh.helm.release.v1.a.b.v3", "a.b", 3)]
    #[case::looks_like_a_revision("sh.helm.release.v1.api.v2.v7", "api.v2", 7)]
    fn a_release_name_may_hold_dots(
        #[case] object: &str,
        #[case] release: &str,
        #[case] revision: u32,
    ) {
        let meta = read(object, &[]).unwrap().unwrap();
        assert_eq!(
            (meta.release_name.as_str(), meta.revision),
            (release, revision)
        );
    }

    #[rstest]
    #[case::another_release("name", "other")]
    #[case::another_revision("version", "2")]
    #[case::no_number("version", "one")]
    fn a_label_that_contradicts_the_name_is_an_error(
        #[case] label: &'static str,
        #[case] value: &'static str,
    ) {
        let error = read("sh.helm.release.v1.web.v1", &[(label, value)]).unwrap_err();
        assert!(matches!(
            error,
            MetadataError::LabelContradictsName { label: named, .. } if named == label
        ));
    }

    #[rstest]
    #[case("sh.helm.release.v1.web")]
    #[case("sh.helm.release.v1.web.v")]
    #[case("sh.helm.release.v1.web.v0")]
    #[case("sh.helm.release.v1.web.v01")]
    #[case("sh.helm.release.v1.web.v+1")]
    #[case("sh.helm.release.v1.web.v99999999999")]
    #[case("sh.helm.release.v1..v1")]
    fn a_name_without_release_and_revision_is_an_error(#[case] object: &str) {
        assert!(matches!(read(object, &[]), Err(MetadataError::Name { .. })));
    }

    #[rstest]
    #[case::helm_2("web.v1")]
    #[case::something_else("chart-museum-cache")]
    fn other_objects_with_helms_label_are_ignored(#[case] object: &str) {
        assert_eq!(read(object, &[("OWNER", "TILLER")]), Ok(None));
    }
}
