//! Findings: the classes of drift, what the next upgrade does about it, and one finding.
//!
//! The names of classes, consequences and severities are an interface, and so is the ID of a finding: a baseline
//! names findings by it.
//!
//! Start at [`DriftFinding`].

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{key::LiveKey, writers::FieldWriter};
use crate::{
    api::reported::{ReportedField, ReportedObject, ReportedValue},
    compare::path::FieldPath,
    helm::ReleaseName,
};

/// A class of drift.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum FindingClass {
    /// A declared field has another value.
    Changed,
    /// A declared field is gone.
    Removed,
    /// A declared object does not exist.
    Missing,
    /// Helm's marks of a declared object are gone or changed, so the webhook no longer sees it.
    Unmarked,
    /// A declared object belongs to another release, or Helm never wrote it.
    Foreign,
    /// An object has the marks of a release that does not declare it or has no record.
    Orphaned,
    /// The object of a hook that Helm should have deleted, or that no later revision has.
    HookLeftover,
    /// After an operation that did not finish, the object follows another revision than others.
    PartiallyApplied,
    /// A failed or rolled-back revision added it, and no active revision declares it.
    Leaked,
    /// Another field manager owns a declared field of a release that Helm applies server-side.
    Claimed,
    /// The value differs since Helm itself wrote the object: something changed it at admission.
    MutatedAtAdmission,
    /// An open emergency change explains the difference.
    Emergency,
    /// The newest record of the release is gone.
    RecordLost,
    /// A record of the release cannot be read.
    RecordUnreadable,
    /// An operation began long ago and did not end.
    StuckPending,
    /// The newest revision uses an API version that the API server no longer serves.
    #[serde(rename = "RemovedAPI")]
    RemovedApi,
    /// The object could not be read or compared.
    Unreadable,
}

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
    /// Nobody can tell.
    Unknown,
}

/// How bad a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum FindingSeverity {
    /// No drift that anybody has to repair. It does not make a release drifted.
    Info,
    /// It can wait.
    Low,
    /// Drift.
    Medium,
    /// Drift that breaks something, or stops the next upgrade.
    High,
    /// The release cannot be upgraded or rolled back.
    Critical,
}

impl FindingClass {
    /// All classes.
    pub const ALL: [Self; 17] = [
        Self::Changed,
        Self::Removed,
        Self::Missing,
        Self::Unmarked,
        Self::Foreign,
        Self::Orphaned,
        Self::HookLeftover,
        Self::PartiallyApplied,
        Self::Leaked,
        Self::Claimed,
        Self::MutatedAtAdmission,
        Self::Emergency,
        Self::RecordLost,
        Self::RecordUnreadable,
        Self::StuckPending,
        Self::RemovedApi,
        Self::Unreadable,
    ];

    /// The name in documents, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "Changed",
            Self::Removed => "Removed",
            Self::Missing => "Missing",
            Self::Unmarked => "Unmarked",
            Self::Foreign => "Foreign",
            Self::Orphaned => "Orphaned",
            Self::HookLeftover => "HookLeftover",
            Self::PartiallyApplied => "PartiallyApplied",
            Self::Leaked => "Leaked",
            Self::Claimed => "Claimed",
            Self::MutatedAtAdmission => "MutatedAtAdmission",
            Self::Emergency => "Emergency",
            Self::RecordLost => "RecordLost",
            Self::RecordUnreadable => "RecordUnreadable",
            Self::StuckPending => "StuckPending",
            Self::RemovedApi => "RemovedAPI",
            Self::Unreadable => "Unreadable",
        }
    }

    /// The definition, in a line.
    pub fn definition(self) -> &'static str {
        match self {
            Self::Changed => "a declared field has another value",
            Self::Removed => "a declared field is gone",
            Self::Missing => "a declared object does not exist",
            Self::Unmarked => "Helm's label or ownership annotations are gone or changed",
            Self::Foreign => "a declared object belongs to another release or to nobody",
            Self::Orphaned => "an object has the marks of a release that does not declare it",
            Self::HookLeftover => "the object of a hook that should be gone",
            Self::PartiallyApplied => {
                "the object follows another revision than others of its release"
            }
            Self::Leaked => {
                "a failed or rolled-back revision added it, and no active one declares it"
            }
            Self::Claimed => {
                "another field manager owns a declared field, so an upgrade that changes it fails"
            }
            Self::MutatedAtAdmission => "the value differs since Helm's own write",
            Self::Emergency => "an open emergency change explains the difference",
            Self::RecordLost => "the newest record of the release is gone",
            Self::RecordUnreadable => "a record of the release cannot be read",
            Self::StuckPending => "an operation of Helm began long ago and did not end",
            Self::RemovedApi => "the newest revision uses an API version that is no longer served",
            Self::Unreadable => "the object could not be read or compared",
        }
    }

    /// The severity of a finding of this class that does not stop an upgrade.
    pub(super) fn severity(self) -> FindingSeverity {
        match self {
            Self::MutatedAtAdmission => FindingSeverity::Info,
            Self::Orphaned | Self::HookLeftover | Self::Emergency => FindingSeverity::Low,
            Self::Changed | Self::Removed | Self::Leaked | Self::Claimed | Self::Unreadable => {
                FindingSeverity::Medium
            }
            Self::Missing
            | Self::Unmarked
            | Self::Foreign
            | Self::PartiallyApplied
            | Self::StuckPending => FindingSeverity::High,
            Self::RecordLost | Self::RecordUnreadable | Self::RemovedApi => {
                FindingSeverity::Critical
            }
        }
    }
}

impl fmt::Display for FindingClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is not the name of a class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no class {0:?}")]
pub struct UnknownClass(pub String);

impl FromStr for FindingClass {
    type Err = UnknownClass;

    /// In any case: people type it.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|class| class.as_str().eq_ignore_ascii_case(word))
            .ok_or_else(|| UnknownClass(word.to_owned()))
    }
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

impl FindingSeverity {
    /// The name in documents and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
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
    /// Who wrote the live value last. Absent if nobody did: it is gone, or a default.
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
    fn a_class_has_one_name_everywhere() {
        for class in FindingClass::ALL {
            let name = serde_json::to_value(class).unwrap();
            assert_eq!(name, class.as_str());
            assert_eq!(
                class.as_str().to_ascii_lowercase().parse(),
                Ok::<_, UnknownClass>(class)
            );
            assert!(class.definition().len() > 20);
        }
        let error = "Drift".parse::<FindingClass>().unwrap_err();
        assert_eq!(error.to_string(), "there is no class \"Drift\"");
    }

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
