//! Identifies a stored record: the storage of a release, and the revision.

use std::{fmt, sync::Arc};

use helm_guard_core::helm::{
    lifecycle::RevisionStatus,
    storage::{Driver, record_name},
};

/// Where a release stores its records.
///
/// Not the release's own name: Flux may store records in another namespace than the release's
/// (`spec.storageNamespace`), and two storages may contain records of the same release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageKey {
    /// Secrets or `ConfigMap`s.
    pub driver: Driver,
    /// The namespace of the records.
    pub namespace: Box<str>,
    /// The release's name.
    pub name: Box<str>,
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One record: one revision in one storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// The release, and where its records are.
    pub storage: Arc<StorageKey>,
    /// Helm's number of the revision, from 1.
    pub revision: u32,
}

impl RecordKey {
    /// The name of the Secret or `ConfigMap` (Helm `pkg/storage/storage.go`, `makeKey`).
    pub fn object_name(&self) -> String {
        record_name(&self.storage.name, self.revision)
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.storage, self.revision)
    }
}

/// One state of a record's object: a body read at one version says nothing about another.
///
/// There is one for each record of each release, so it is small.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordVersion {
    /// `metadata.uid`: a deleted and recreated record is another one.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: ResourceVersion,
}

/// `metadata.uid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uid(UidForm);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum UidForm {
    /// As API servers generate them.
    Uuid([u8; 16]),
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(uuid(text).map_or_else(|| UidForm::Other(text.into()), UidForm::Uuid))
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl Default for Uid {
    /// The value for an object without one.
    fn default() -> Self {
        "".into()
    }
}

/// The 16 bytes of a UUID in its usual form: lower case, hyphens after 8, 12, 16 and 20 digits.
fn uuid(text: &str) -> Option<[u8; 16]> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut nibbles = Vec::with_capacity(32);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'-' if HYPHENS.contains(&at) => {}
            b'0'..=b'9' if !HYPHENS.contains(&at) => nibbles.push(byte - b'0'),
            b'a'..=b'f' if !HYPHENS.contains(&at) => nibbles.push(byte - b'a' + 10),
            _ => return None,
        }
    }
    let bytes = nibbles.chunks_exact(2).map(|pair| match pair {
        [high, low] => high << 4 | low,
        _ => 0,
    });
    bytes.collect::<Vec<u8>>().try_into().ok()
}

/// `metadata.resourceVersion`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceVersion(ResourceVersionForm);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ResourceVersionForm {
    /// A decimal number in its canonical form, without leading zeros.
    Number(u64),
    Other(Box<str>),
}

impl ResourceVersion {
    /// As a number, if it looks like one.
    pub fn number(&self) -> Option<u64> {
        match &self.0 {
            ResourceVersionForm::Number(number) => Some(*number),
            ResourceVersionForm::Other(text) => number(text),
        }
    }
}

impl From<&str> for ResourceVersion {
    fn from(text: &str) -> Self {
        Self(
            match number(text).filter(|number| number.to_string() == text) {
                Some(number) => ResourceVersionForm::Number(number),
                None => ResourceVersionForm::Other(text.into()),
            },
        )
    }
}

impl From<String> for ResourceVersion {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl Default for ResourceVersion {
    /// That of an object that has none.
    fn default() -> Self {
        "".into()
    }
}

impl RecordVersion {
    /// Whether this state is certainly earlier than `other`, of the same record or of one that was
    /// deleted and recreated under its name.
    ///
    /// Resource versions of one resource are ordered decimal numbers (Kubernetes API concepts,
    /// "Resource versions"; etcd's revisions); otherwise the order is unknown.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        match (
            self.resource_version.number(),
            other.resource_version.number(),
        ) {
            (Some(this), Some(other)) => this < other,
            _ => false,
        }
    }
}

/// A resource version as a number, if it looks like one.
pub fn number(resource_version: &str) -> Option<u64> {
    resource_version.parse().ok()
}

/// The metadata of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which revision of which release.
    pub key: RecordKey,
    /// The revision's status, from the label, which Helm keeps in sync with the body.
    pub status: RevisionStatus,
    /// The state of the object.
    pub version: RecordVersion,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const UUID: &str = "c5d3f1b0-7a64-4c1d-9a53-2b1f0e6d7c88";

    #[rstest]
    #[case::a_digit("c5d3f1b0-7a64-4c1d-9a53-2b1f0e6d7c89")]
    #[case::upper_case("C5D3F1B0-7A64-4C1D-9A53-2B1F0E6D7C88")]
    #[case::hyphens_elsewhere("c5d3f1b07-a64-4c1d-9a53-2b1f0e6d7c88")]
    #[case::no_hyphens("c5d3f1b07a644c1d9a532b1f0e6d7c88")]
    #[case::more("c5d3f1b0-7a64-4c1d-9a53-2b1f0e6d7c888")]
    #[case::no_digits("c5d3f1b0-7a64-4c1d-9a53-2b1f0e6d7c8g")]
    #[case::nothing("")]
    fn uids_are_equal_if_their_texts_are_equal(#[case] other: &str) {
        assert_eq!(Uid::from(UUID), Uid::from(UUID.to_owned()));
        assert_eq!(Uid::from(other), Uid::from(other));
        assert!(Uid::from(UUID) != Uid::from(other));
    }

    #[rstest]
    #[case::a_number("7", Some(7))]
    #[case::zeros_before_it("007", Some(7))]
    #[case::the_largest("18446744073709551615", Some(u64::MAX))]
    #[case::larger("18446744073709551616", None)]
    #[case::no_number("a7", None)]
    #[case::nothing("", None)]
    fn resource_versions_are_parsed_as_numbers_if_possible(
        #[case] text: &str,
        #[case] number: Option<u64>,
    ) {
        assert_eq!(ResourceVersion::from(text).number(), number);
        assert_eq!(ResourceVersion::from(text), text.to_owned().into());
        assert!(ResourceVersion::from(text) != "8".into());
        assert_eq!(text == "7", ResourceVersion::from(text) == "7".into());
    }
}
