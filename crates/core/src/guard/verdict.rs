//! The verdict on a request.

use std::{fmt, sync::Arc};

use crate::{
    api::Mode,
    compare::{path::FieldPath, redact::ShownValue},
    helm::{ReleaseName, record::ApplyMethod},
};

/// The verdict on one request, before any mode or break-glass identity is considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why the verdict is what it is.
    pub reason: Reason,
    /// The preset, exemption or ignore rule that covers the change, if there is one.
    pub exemption: Option<Arc<str>>,
    /// The violations, one entry for each release that objects; what an undeclared autoscaler changes;
    /// what a release loses to another. Empty otherwise.
    pub findings: Vec<Finding>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confidence {
    /// On current data: for a violation, the records were read again.
    #[default]
    Confirmed,
    /// On the index, because the records could not be read again. That is enough to record a
    /// break-glass change, and never enough to deny one.
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

    /// This rule of the policy exempts it.
    pub fn exempt(rule: Arc<str>) -> Self {
        Self {
            exemption: Some(rule),
            ..Self::because(Reason::Exempt)
        }
    }

    /// The strictest mode of all violations; `None` without one.
    pub fn mode(&self) -> Option<Mode> {
        self.findings.iter().map(|finding| finding.mode).min()
    }
}

/// What kind of answer a [`Reason`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerdictOutcome {
    /// The request is legitimate.
    Pass,
    /// It changes, removes or deletes something that a release declares.
    Violation,
    /// Unknown; allowed with a warning and counted under its own reason.
    Indeterminate,
}

/// Why a request got its verdict. Each is a metric label, an audit annotation and a word in logs,
/// so the names are an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An operation or a subresource that changes no declared object ([`super::effect`]).
    NotJudged,
    /// No active revision declares the object.
    NotDeclared,
    /// The kill switch is on.
    Suspended,
    /// Old and new object are the same.
    Unchanged,
    /// No declared field moves away from its declared value.
    NothingDeclaredChanges,
    /// `helm uninstall` runs for the release.
    Uninstalling,
    /// A rule of the policy covers the change: a preset, an exemption, an ignored field.
    Exempt,
    /// An autoscaler that no release declares sets declared replicas, which the policy allows.
    UndeclaredAutoscaler,
    /// Helm's own write, changed by a mutating webhook.
    InFlight,
    /// The object's ownership annotations change to another release, as with `--take-ownership`.
    OwnershipTaken,
    /// The manifest has another API version than this call, and the API server makes another call in
    /// that version, which is evaluated instead.
    JudgedInDeclaredVersion,
    /// A record is written or deleted as Helm does it.
    HelmsOwn,
    /// The guard's own release declares it, in the guard's own namespace.
    OwnRelease,
    /// Done by an emergency identity: recorded, and not evaluated here.
    EmergencyIdentity,
    /// Declared fields change.
    FieldsChanged,
    /// A declared object is deleted.
    ObjectDeleted,
    /// A controller would delete the declared object because of the change: an owner reference, a time
    /// to live.
    LeadsToDeletion,
    /// A controller would change declared fields because of the change.
    LeadsToChange,
    /// A field changes that no release declares, and the policy guards such fields.
    UndeclaredChanged,
    /// A release record is changed in a way that Helm never does.
    RecordTampered,
    /// A release record is deleted that Helm would keep.
    RecordDeleted,
    /// A release record is written by a user whom the policy does not allow to deploy.
    NotADeployer,
    /// A release record declares objects in a namespace where its writer may not deploy.
    DeclaresOutsideScope,
    /// A namespace is deleted in which releases have records or objects.
    NamespaceHoldsReleases,
    /// A CRD is deleted whose instances releases declare.
    DefinitionInUse,
    /// A declared object is written by a request whose review is too large to be evaluated.
    TooLarge,
    /// The same, by a review for which no memory was left.
    OverBudget,
    /// The manifest and the request have different API versions, so their fields cannot be compared.
    VersionDiffers,
    /// The record of an active revision cannot be read or decoded.
    RecordUnreadable,
    /// The object in the request is invalid (not a JSON object, or without a name).
    ObjectUnreadable,
    /// The schema of a custom resource could not be read, and the verdict depends on it.
    SchemaUnavailable,
    /// The records could not be read again before a denial.
    ReadThroughFailed,
    /// A new owner reference names an object that the release declares, and its uid could not be checked.
    OwnerUnknown,
    /// It could not be determined whether the request is Helm's own.
    AccessUnknown,
    /// The answer was not ready before the deadline.
    DeadlineExceeded,
    /// No release is known to declare the object, and not all release records have been read yet.
    IndexIncomplete,
}

impl Reason {
    /// The kind of answer: the only place that assigns it.
    pub fn outcome(self) -> VerdictOutcome {
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
            | Self::EmergencyIdentity => VerdictOutcome::Pass,
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
            | Self::OverBudget => VerdictOutcome::Violation,
            Self::VersionDiffers
            | Self::RecordUnreadable
            | Self::ObjectUnreadable
            | Self::SchemaUnavailable
            | Self::ReadThroughFailed
            | Self::OwnerUnknown
            | Self::AccessUnknown
            | Self::DeadlineExceeded
            | Self::IndexIncomplete => VerdictOutcome::Indeterminate,
        }
    }

    /// Its name in metrics, annotations and logs.
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
    /// The release that declares the object.
    pub release: Arc<ReleaseName>,
    /// `name-version` of its chart.
    pub chart: Arc<str>,
    /// How Helm applies its objects.
    pub apply_method: ApplyMethod,
    /// The mode that applies to it.
    pub mode: Mode,
    /// The active revisions that were compared, newest first.
    pub revisions: Vec<u32>,
    /// The declared fields that change; empty when the object is deleted.
    pub changes: Vec<FieldChange>,
    /// What or who else it is about: the instances of a CRD, the releases whose records are deleted
    /// too, those who may deploy, what a change leads to, the release that takes the object.
    pub involved: Vec<String>,
}

/// One declared field that a request moves away from its declared value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Where the object changes.
    pub path: FieldPath,
    /// The value that the manifest declares (the newest active revision's, where they differ).
    pub declared: ShownValue,
    /// The value before the request.
    pub live: ShownValue,
    /// The value that the request would set.
    pub requested: ShownValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and alerts use these names.
    #[test]
    fn each_reason_has_its_name_and_its_kind_of_answer() {
        let (pass, violation, unknown) = (
            VerdictOutcome::Pass,
            VerdictOutcome::Violation,
            VerdictOutcome::Indeterminate,
        );
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
