//! Findings: one difference between a release and the cluster, and what the next upgrade does about it.
//!
//! The ID of a finding is an interface: a baseline names findings by it.
//!
//! Start at [`DriftFinding`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::class::{FindingClass, FindingSeverity};
use super::{exact::ExactDifference, key::LiveKey, writers::FieldWriter};
use crate::{
    api::reported::{ReportedField, ReportedObject, ReportedValue},
    compare::path::FieldPath,
    helm::ReleaseName,
};

/// What the next upgrade of the release with the same chart does about a finding.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Consequence {
    /// It restores what is declared.
    Reverted,
    /// It leaves the difference as it is.
    Kept,
    /// It fails; of a claimed field, if it changes the field.
    Blocks,
    /// It creates the object again.
    Recreated,
    /// It leaves behind what nothing declares.
    Leaked,
    /// It cannot be known.
    Unknown,
}

impl Consequence {
    /// The name in documents and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reverted => "Reverted",
            Self::Kept => "Kept",
            Self::Blocks => "Blocks",
            Self::Recreated => "Recreated",
            Self::Leaked => "Leaked",
            Self::Unknown => "Unknown",
        }
    }
}

/// One difference between what a release declares and what is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftFinding {
    /// The same in every scan that finds it: class, release, object and path.
    pub id: String,
    /// Its class.
    pub class: FindingClass,
    /// How bad it is.
    pub severity: FindingSeverity,
    /// The object; of a finding about a record, the object that stores it.
    pub object: ReportedObject,
    /// The field, if it is about one: `.spec.replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The value that is declared there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Value>,
    /// The value in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// The values that are described instead of shown: a redacted value of a Secret, or the beginning of a long one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub described: Vec<ReportedValue>,
    /// Who wrote the live value last. Absent if it has no writer: it is gone, or a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<FieldWriter>,
    /// Since when, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What the next upgrade does about it.
    pub consequence: Consequence,
    /// The open `EmergencyChange` that explains it, as namespace/name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_change: Option<String>,
    /// The finding in a sentence.
    pub message: String,
    /// The difference with its whole values, if it was asked for. It is in no document.
    #[serde(skip)]
    pub exact: Option<Box<ExactDifference>>,
}

impl DriftFinding {
    /// A finding about an object as a whole.
    pub(super) fn new(
        class: FindingClass,
        release: &ReleaseName,
        (key, api_version): (LiveKey<'_>, String),
        consequence: Consequence,
        message: String,
    ) -> Self {
        let severity = match (class, consequence) {
            // These wait for somebody to change the chart, or are followed already.
            (FindingClass::Claimed | FindingClass::Emergency, _) => class.severity(),
            (_, Consequence::Blocks) => class.severity().max(FindingSeverity::High),
            _ => class.severity(),
        };
        Self {
            id: format!("{class}/{}/{}/{key}", release.namespace, release.name),
            class,
            severity,
            object: ReportedObject {
                api_version,
                kind: key.kind.to_owned(),
                namespace: key.namespace.to_owned(),
                name: key.name.to_owned(),
                ..ReportedObject::default()
            },
            path: None,
            declared: None,
            live: None,
            described: Vec::new(),
            writer: None,
            since: None,
            consequence,
            emergency_change: None,
            message,
            exact: None,
        }
    }

    /// The same about one field.
    pub(super) fn with_field(mut self, path: &FieldPath, field: ReportedField) -> Self {
        let path = path.to_string();
        self.id = format!("{}/{path}", self.id);
        self.path = Some(path);
        self.declared = field.declared;
        self.live = field.live;
        self.described = field.described;
        self
    }

    /// The same, written by somebody at some time.
    pub(super) fn with_writer(mut self, writer: Option<FieldWriter>) -> Self {
        self.since = writer.as_ref().and_then(|writer| writer.time.clone());
        self.writer = writer;
        self
    }

    /// Whether the release, or a part of it, is not known because of this.
    pub fn is_error(&self) -> bool {
        match self.class {
            FindingClass::Unreadable => true,
            // Of an old revision, only what it left behind is unknown.
            FindingClass::RecordUnreadable => self.severity == FindingSeverity::Critical,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consequences_and_severities_are_written_by_their_names() {
        use {Consequence as C, FindingSeverity as S};
        for one in [
            C::Reverted,
            C::Kept,
            C::Blocks,
            C::Recreated,
            C::Leaked,
            C::Unknown,
        ] {
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
        for one in [S::Info, S::Low, S::Medium, S::High, S::Critical] {
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
    }
}
