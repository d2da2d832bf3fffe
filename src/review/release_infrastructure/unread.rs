//! Requests whose objects were not read: the change is unknown, so it counts as a violation of
//! everything that it may violate.

use helm_guard_core::{
    guard::{Operation, Reason, Unread, Verdict},
    helm::storage::{Driver, RecordMeta},
    policy::records::Guarded,
};

use super::{infrastructure_review::InfrastructureReview, record_contents::RecordContents};

impl<S> InfrastructureReview<'_, S> {
    /// The verdict by the name of the object alone.
    pub(super) fn unread(&self, unread: Unread) -> Verdict {
        let reason = unread.reason();
        let guarded = match (self.object.kind, self.request.operation) {
            ("Secret" | "ConfigMap", Operation::Create) => Guarded::Deployers,
            ("Secret" | "ConfigMap", _) => Guarded::Records,
            ("Namespace", _) => Guarded::Namespaces,
            _ => Guarded::Crds,
        };
        if self.is_off(guarded) {
            return Verdict::because(Reason::NotJudged);
        }
        if unread == Unread::Late || !matches!(guarded, Guarded::Deployers | Guarded::Records) {
            return Verdict::because(reason);
        }
        let driver = match self.object.kind {
            "Secret" => Driver::Secret,
            _ => Driver::ConfigMap,
        };
        // An object without the name of a record is not one.
        let Ok(Some(stored)) = RecordMeta::from_metadata(driver, "", &self.object.name, []) else {
            return Verdict::because(Reason::NotJudged);
        };
        let contents =
            RecordContents::unreadable(self.object.namespace, stored.release_name, stored.revision);
        self.violation(contents, (guarded, reason), Vec::new())
    }
}
