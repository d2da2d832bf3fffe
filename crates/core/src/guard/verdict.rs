//! What comes out of the judgement.

use std::{fmt, sync::Arc};

use crate::{
    api::Mode,
    compare::{path::FieldPath, redact::Shown},
    helm::{ReleaseName, record::ApplyMethod},
};

/// The judgement of one request, before any mode or break-glass identity is considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// The preset, exemption or ignore rule that covers the change, where one does.
    pub exemption: Option<Arc<str>>,
    /// What is violated, one entry a release that objects; what an undeclared autoscaler changes; what a
    /// release loses to another. Empty otherwise.
    pub findings: Vec<Finding>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confidence {
    /// On all that has to be known: for a violation, the records as they are now.
    #[default]
    Confirmed,
    /// On the index, since the records could not be read again. That is enough to record a break-glass
    /// change, and never enough to deny one.
    IndexOnly,
}

impl Verdict {
    /// A verdict without findings.
    pub fn because(reason: Reason) -> Self {
        Self::with_findings(reason, Vec::new())
    }

    /// A verdict that names releases.
    pub fn with_findings(reason: Reason, findings: Vec<Finding>) -> Self {
        Self {
            reason,
            exemption: None,
            findings,
            confidence: Confidence::Confirmed,
        }
    }

    /// It passes under this rule of the policy.
    pub fn exempt(rule: Arc<str>) -> Self {
        Self {
            exemption: Some(rule),
            ..Self::because(Reason::Exempt)
        }
    }

    /// The strictest mode of what is violated; none where nothing is.
    pub fn mode(&self) -> Option<Mode> {
        self.findings.iter().map(|finding| finding.mode).min()
    }
}

/// What kind of answer a [`Reason`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The request is legitimate.
    Pass,
    /// It changes, removes or deletes something that a release declares.
    Violation,
    /// Nobody can say; it passes with a warning and is counted under its own reason.
    Indeterminate,
}

/// Why a request got its verdict. Each is a metric label, an audit annotation and a word in logs,
/// so the words are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An operation or a subresource that changes no declared object ([`super::effect`]).
    NotJudged,
    /// No active revision's manifest holds the object.
    NotDeclared,
    /// The kill switch is on.
    Suspended,
    /// Old and new object are the same.
    Unchanged,
    /// No declared value moves away from what is declared.
    NothingDeclaredChanges,
    /// `helm uninstall` runs for the release.
    Uninstalling,
    /// A rule of the policy covers the change: a preset, an exemption, an ignored field.
    Exempt,
    /// An autoscaler that no release declares sets declared replicas, which the policy lets pass.
    UndeclaredAutoscaler,
    /// Helm itself writes, and a mutating webhook rewrote what it sent.
    InFlight,
    /// The object's ownership annotations change to another release, as `--take-ownership` has them.
    OwnershipTaken,
    /// The manifest's API version is not this call's, and the API server makes another call in which
    /// it is: that one judges.
    JudgedInDeclaredVersion,
    /// A record is written or deleted as Helm does it.
    HelmsOwn,
    /// The guard's own release declares it, in the guard's own namespace.
    OwnRelease,
    /// An emergency identity does it: put on record, and not judged here.
    EmergencyIdentity,
    /// Declared fields change.
    FieldsChanged,
    /// A declared object is deleted.
    ObjectDeleted,
    /// A controller would delete the declared object because of what changes: an owner reference, a time
    /// to live.
    LeadsToDeletion,
    /// A controller would change declared fields because of what changes.
    LeadsToChange,
    /// Something changes that no release declares, and the policy wants to know of that.
    UndeclaredChanged,
    /// A release record is changed as Helm never does it.
    RecordTampered,
    /// A release record is deleted that Helm would keep.
    RecordDeleted,
    /// A release record is written by somebody whom the policy does not let deploy.
    NotADeployer,
    /// A release record declares objects where its writer may not deploy.
    DeclaresOutsideScope,
    /// A namespace is deleted in which releases have records or objects.
    NamespaceHoldsReleases,
    /// A custom resource definition is deleted whose instances releases declare.
    DefinitionInUse,
    /// A declared object is written by a request whose review is too large to be evaluated.
    TooLarge,
    /// The same, by a review for which there was no memory left.
    OverBudget,
    /// The manifest's API version is not the request's, so their fields do not compare.
    VersionDiffers,
    /// The record of an active revision can not be read or decoded.
    RecordUnreadable,
    /// The object in the request is not what it should be (no JSON object, no name).
    ObjectUnreadable,
    /// The schema of a custom resource could not be read, and the verdict hangs on it.
    SchemaUnavailable,
    /// The records could not be read again before a denial.
    ReadThroughFailed,
    /// A new owner reference names an object that the release declares, and whether it has that uid could
    /// not be found out.
    OwnerUnknown,
    /// Whether the request is Helm's own could not be found out.
    AccessUnknown,
    /// The answer was not ready inside the deadline.
    DeadlineExceeded,
    /// No release is known to declare the object, and not all release records have been read yet.
    IndexIncomplete,
}

impl Reason {
    /// What kind of answer it is: the one place that says so.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::NotJudged
            | Self::Suspended
            | Self::NotDeclared
            | Self::Unchanged
            | Self::NothingDeclaredChanges
            | Self::Uninstalling
            | Self::Exempt
            | Self::UndeclaredAutoscaler
            | Self::InFlight
            | Self::OwnershipTaken
            | Self::JudgedInDeclaredVersion
            | Self::HelmsOwn
            | Self::OwnRelease
            | Self::EmergencyIdentity => Outcome::Pass,
            Self::FieldsChanged
            | Self::ObjectDeleted
            | Self::LeadsToDeletion
            | Self::LeadsToChange
            | Self::UndeclaredChanged
            | Self::RecordTampered
            | Self::RecordDeleted
            | Self::NotADeployer
            | Self::DeclaresOutsideScope
            | Self::NamespaceHoldsReleases
            | Self::DefinitionInUse
            | Self::TooLarge
            | Self::OverBudget => Outcome::Violation,
            Self::VersionDiffers
            | Self::RecordUnreadable
            | Self::ObjectUnreadable
            | Self::SchemaUnavailable
            | Self::ReadThroughFailed
            | Self::OwnerUnknown
            | Self::AccessUnknown
            | Self::DeadlineExceeded
            | Self::IndexIncomplete => Outcome::Indeterminate,
        }
    }

    /// The word for metrics, annotations and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJudged => "not-judged",
            Self::NotDeclared => "not-declared",
            Self::Suspended => "suspended",
            Self::Unchanged => "unchanged",
            Self::NothingDeclaredChanges => "nothing-declared-changes",
            Self::Uninstalling => "uninstalling",
            Self::Exempt => "exempt",
            Self::UndeclaredAutoscaler => "undeclared-autoscaler",
            Self::InFlight => "in-flight",
            Self::OwnershipTaken => "ownership-taken",
            Self::JudgedInDeclaredVersion => "judged-in-declared-version",
            Self::HelmsOwn => "helms-own",
            Self::OwnRelease => "own-release",
            Self::EmergencyIdentity => "emergency-identity",
            Self::FieldsChanged => "fields-changed",
            Self::ObjectDeleted => "object-deleted",
            Self::LeadsToDeletion => "leads-to-deletion",
            Self::LeadsToChange => "leads-to-change",
            Self::UndeclaredChanged => "undeclared-changed",
            Self::RecordTampered => "record-tampered",
            Self::RecordDeleted => "record-deleted",
            Self::NotADeployer => "not-a-deployer",
            Self::DeclaresOutsideScope => "declares-outside-scope",
            Self::NamespaceHoldsReleases => "namespace-holds-releases",
            Self::DefinitionInUse => "definition-in-use",
            Self::TooLarge => "too-large",
            Self::OverBudget => "over-budget",
            Self::VersionDiffers => "version-differs",
            Self::RecordUnreadable => "record-unreadable",
            Self::ObjectUnreadable => "object-unreadable",
            Self::SchemaUnavailable => "schema-unavailable",
            Self::ReadThroughFailed => "read-through-failed",
            Self::OwnerUnknown => "owner-unknown",
            Self::AccessUnknown => "access-unknown",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::IndexIncomplete => "index-incomplete",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one release objects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The release.
    pub release: Arc<ReleaseName>,
    /// `name-version` of its chart.
    pub chart: Arc<str>,
    /// How Helm applies its objects.
    pub apply_method: ApplyMethod,
    /// What the policy makes of it.
    pub mode: Mode,
    /// The active revisions that were asked, newest first.
    pub revisions: Vec<u32>,
    /// The declared fields that change; empty when the object is deleted.
    pub changes: Vec<Change>,
    /// What or who else it is about: the instances of a definition, the releases whose records go too,
    /// those who may deploy, what a change leads to, the release that takes the object.
    pub involved: Vec<String>,
}

/// One declared field that a request moves away from its declared value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: FieldPath,
    /// The value that the manifest declares (the newest active revision's, where they differ).
    pub declared: Shown,
    /// The value before the request.
    pub live: Shown,
    /// The value that the request would set.
    pub requested: Shown,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and alerts are made of these words.
    #[test]
    fn each_reason_has_its_word_and_its_kind_of_answer() {
        let (pass, violation, unknown) =
            (Outcome::Pass, Outcome::Violation, Outcome::Indeterminate);
        let table = [
            (Reason::NotJudged, "not-judged", pass),
            (Reason::NotDeclared, "not-declared", pass),
            (Reason::Suspended, "suspended", pass),
            (Reason::Unchanged, "unchanged", pass),
            (
                Reason::NothingDeclaredChanges,
                "nothing-declared-changes",
                pass,
            ),
            (Reason::Uninstalling, "uninstalling", pass),
            (Reason::Exempt, "exempt", pass),
            (Reason::InFlight, "in-flight", pass),
            (Reason::OwnershipTaken, "ownership-taken", pass),
            (
                Reason::JudgedInDeclaredVersion,
                "judged-in-declared-version",
                pass,
            ),
            (Reason::OwnRelease, "own-release", pass),
            (Reason::FieldsChanged, "fields-changed", violation),
            (Reason::TooLarge, "too-large", violation),
            (Reason::OverBudget, "over-budget", violation),
            (Reason::IndexIncomplete, "index-incomplete", unknown),
            (Reason::UndeclaredAutoscaler, "undeclared-autoscaler", pass),
            (Reason::ObjectDeleted, "object-deleted", violation),
            (Reason::LeadsToDeletion, "leads-to-deletion", violation),
            (Reason::LeadsToChange, "leads-to-change", violation),
            (Reason::OwnerUnknown, "owner-unknown", unknown),
            (Reason::VersionDiffers, "version-differs", unknown),
            (Reason::RecordUnreadable, "record-unreadable", unknown),
            (Reason::ObjectUnreadable, "object-unreadable", unknown),
            (Reason::SchemaUnavailable, "schema-unavailable", unknown),
            (Reason::ReadThroughFailed, "read-through-failed", unknown),
            (Reason::AccessUnknown, "access-unknown", unknown),
            (Reason::DeadlineExceeded, "deadline-exceeded", unknown),
        ];
        for (reason, word, outcome) in table {
            assert_eq!((reason.as_str(), reason.outcome()), (word, outcome));
            assert_eq!(reason.to_string(), word);
        }
    }
}
