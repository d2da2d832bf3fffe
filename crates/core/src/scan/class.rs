//! The classes of drift, with their definitions, and how bad a finding is. Their names are an interface.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
            Self::Foreign => "a declared object belongs to another release or to none",
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
    pub fn severity(self) -> FindingSeverity {
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
}
