//! What a class of drift means to whoever runs the release, and what to do about it.

use super::class::FindingClass;

impl FindingClass {
    /// What it means, in sentences that follow the definition.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Changed => {
                "Somebody or something wrote the live object after Helm did. The consequence of the finding says \
                 whether the next upgrade reverts it."
            }
            Self::Removed => {
                "The manifest in the release record has the field, and the live object does not."
            }
            Self::Missing => {
                "Somebody deleted the object, or an operation of Helm did not create it. Helm creates it again at the \
                 next upgrade."
            }
            Self::Unmarked => {
                "The API server calls the webhook for objects with Helm's label only, so it no longer guards this one. \
                 The next upgrade adds the marks again."
            }
            Self::Foreign => {
                "Two releases declare the same object, or it was there before the release. Each upgrade of one \
                 overwrites what the other declares."
            }
            Self::Orphaned => {
                "A chart dropped the object while its annotation helm.sh/resource-policy kept it, or the records of \
                 its release are gone. No upgrade touches it."
            }
            Self::HookLeftover => {
                "Helm did not get to delete it, or a later revision no longer has the hook. It may stop the same hook \
                 of the next upgrade."
            }
            Self::PartiallyApplied => {
                "An operation of Helm ended between two objects, so parts of two revisions run side by side."
            }
            Self::Leaked => {
                "Helm compares with the newest deployed revision, so an upgrade does not remove what a failed revision \
                 added. A rollback does, unless another revision was deployed in between."
            }
            Self::Claimed => {
                "The value is still the declared one. With server-side apply, the next upgrade that changes it stops \
                 with a conflict."
            }
            Self::MutatedAtAdmission => {
                "A mutating webhook or the API server changed the value inside Helm's own request. An upgrade that \
                 sets it back is changed again."
            }
            Self::Emergency => {
                "A break-glass identity made the change, and it is not resolved yet: the values of the chart do not \
                 have it."
            }
            Self::RecordLost => {
                "An upgrade would start from an older revision, and would not know what the lost one declared."
            }
            Self::RecordUnreadable => {
                "Helm and the guard cannot tell what the revision declares, so the objects of the release are not \
                 compared."
            }
            Self::StuckPending => {
                "Helm refuses every other operation while one is pending. The process that began it is most likely \
                 gone."
            }
            Self::RemovedApi => {
                "Helm reads the old manifest before it applies the new one, so the next upgrade fails whatever the \
                 new one declares."
            }
            Self::Unreadable => {
                "Whether there is drift is not known: it is not counted as in sync."
            }
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Changed | Self::Removed => {
                "Put the change into the chart or its values if it is wanted, else restore what is declared: \
                 helm-guard scan -o patch prints the patch, and a rollback to the same revision applies the manifest \
                 again."
            }
            Self::Missing => {
                "Run helm rollback with the current revision: it creates the object again. If it is not wanted, remove \
                 it from the chart."
            }
            Self::Unmarked => {
                "Run helm rollback with the current revision: it writes the marks again."
            }
            Self::Foreign => {
                "Decide which release declares the object, and remove it from the chart of the other."
            }
            Self::Orphaned | Self::Leaked => {
                "Delete the object or the field if nothing needs it, else declare it in the chart."
            }
            Self::HookLeftover => {
                "Look at why the hook did not finish, then delete its object if nothing needs it."
            }
            Self::PartiallyApplied => {
                "Repeat the operation that did not finish, or roll back to the revision before it."
            }
            Self::Claimed => {
                "Run the next upgrade that changes it with --force-conflicts, or have the other manager give the field up."
            }
            Self::MutatedAtAdmission => {
                "Declare in the chart what the mutation makes of it, or ignore the field in the policy."
            }
            Self::Emergency => {
                "Bring the change into the values of the chart and upgrade, or revert it, before it is overdue."
            }
            Self::RecordLost => {
                "Restore the record from a backup of the cluster, or upgrade with the chart and values of the lost \
                 revision."
            }
            Self::RecordUnreadable => {
                "Restore the record from a backup of the cluster, or delete it and roll back to a revision that can be \
                 read: Helm stores no revision under the name of one that exists."
            }
            Self::StuckPending => {
                "Make sure that no operation is running, then run helm rollback to the last revision that was deployed."
            }
            Self::RemovedApi => {
                "Change the API version in the record with the helm-mapkubeapis plugin, and in the chart."
            }
            Self::Unreadable => {
                "Give the scan the right to read the kind, or see the message for what else stopped it."
            }
        }
    }
}
