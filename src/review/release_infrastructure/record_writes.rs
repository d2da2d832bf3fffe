//! Writes and deletions of release records.

use helm_guard_core::{
    guard::{
        Operation, Raw, Reason, RecordsAt, Verdict,
        records::{
            StoredRecord,
            edit::{Edit, edit},
            forged::Forged,
            removal::{Removal, may_be_helms, removal},
        },
    },
    helm::{record::RecordLimits, storage::Driver},
    policy::records::Guarded,
};

use super::{
    infrastructure_review::{InfrastructureReview, NAMED},
    record_contents::{RecordContents, claimed_bytes},
};
use crate::review::{sources::Sources, undecided::Undecided};

impl<S: Sources> InfrastructureReview<'_, S> {
    pub(super) async fn record_write(&self) -> Result<Verdict, Undecided> {
        let request = self.request;
        let stored = |object| StoredRecord::of(&request.kind, object);
        let (old, new) = (
            request.old_object.and_then(stored),
            request.object.and_then(stored),
        );
        let sources = &self.reviewer.sources;
        if self.object.kind == "ConfigMap" && !sources.reads(Driver::ConfigMap) {
            return Ok(Verdict::because(Reason::NotJudged));
        }
        let forged = |object: Raw<'_>| Forged::of(&request.kind, object);
        if let Some(made) = request.object.and_then(forged)
            && old.is_none()
            && request.old_object.and_then(forged).is_none()
        {
            return Ok(self.forged(made));
        }
        match (request.operation, old, new) {
            (Operation::Update, Some(old), new) => self.changed(old, new).await,
            // An object that becomes a record by its label counts as created.
            (Operation::Create | Operation::Update, None, Some(new))
                if !self.is_off(Guarded::Deployers) =>
            {
                Ok(self.created(self.contents(new).await?))
            }
            (Operation::Delete, Some(old), _) => self.deleted(old).await,
            _ => Ok(Verdict::because(Reason::NotJudged)),
        }
    }

    /// A Secret that Helm would read, but never writes in this form.
    fn forged(&self, forged: Forged) -> Verdict {
        let namespace = self.object.namespace;
        let contents = RecordContents::unreadable(namespace, forged.release, forged.revision);
        if !self.may_deploy(&contents.release) {
            return self.written_by_helm(contents);
        }
        let violated = (Guarded::Records, Reason::RecordTampered);
        self.violation(contents, violated, vec![forged.change])
    }

    /// A created record: whether the user may write it, and may deploy everything that it declares.
    fn created(&self, mut contents: RecordContents) -> Verdict {
        if !self.may_deploy(&contents.release) {
            return self.written_by_helm(contents);
        }
        let (records, identity) = (self.policy.records(), self.request.user_info.identity());
        let outside = contents.declares.iter();
        let outside = outside.filter(|(namespace, _)| !records.may_reach(identity, namespace));
        contents.involved = outside
            .take(NAMED)
            .map(|(_, called)| called.clone())
            .collect();
        if contents.involved.is_empty() {
            return Verdict::because(Reason::HelmsOwn);
        }
        let violated = (Guarded::Deployers, Reason::DeclaresOutsideScope);
        self.violation(contents, violated, Vec::new())
    }

    async fn changed(
        &self,
        old: StoredRecord,
        new: Option<StoredRecord>,
    ) -> Result<Verdict, Undecided> {
        let claimed = claimed_bytes([Some(&old), new.as_ref()].into_iter().flatten());
        let comparing = self.decoding(claimed, move || {
            let edited = edit(&old, new.as_ref(), &RecordLimits::default());
            (old, new, edited)
        });
        let (old, new, edited) = comparing.await?;
        let is_guarded = !self.is_off(Guarded::Records);
        match (edited, new) {
            (Edit::Irrelevant, _) => Ok(Verdict::because(Reason::NothingDeclaredChanges)),
            (Edit::Unreadable, _) if is_guarded => {
                Err(Undecided::because(Reason::RecordUnreadable))
            }
            (Edit::Tampering(changes), _) if is_guarded => {
                let violated = (Guarded::Records, Reason::RecordTampered);
                Ok(self.violation(self.contents(old).await?, violated, changes))
            }
            // The content of records is not guarded: then the new content counts as created.
            (Edit::Tampering(_) | Edit::Unreadable, Some(new)) => {
                let old = self.contents(old).await?;
                if !self.may_deploy(&old.release) {
                    return Ok(self.written_by_helm(old));
                }
                Ok(self.created(self.contents(new).await?))
            }
            _ => Ok(self.written_by_helm(self.contents(old).await?)),
        }
    }

    /// Written as by Helm: whether the user may.
    fn written_by_helm(&self, mut contents: RecordContents) -> Verdict {
        if self.may_deploy(&contents.release) {
            return Verdict::because(Reason::HelmsOwn);
        }
        contents.involved = self.policy.records().deployers(&contents.release);
        let violated = (Guarded::Deployers, Reason::NotADeployer);
        self.violation(contents, violated, Vec::new())
    }

    async fn deleted(&self, old: StoredRecord) -> Result<Verdict, Undecided> {
        if old.is_leaving {
            return Ok(Verdict::because(Reason::NothingDeclaredChanges));
        }
        let (sources, request) = (&self.reviewer.sources, self.request);
        let namespace = self.object.namespace;
        let at = RecordsAt {
            driver: old.driver,
            namespace: namespace.into(),
        };
        let history = sources.history(&at, &old.release, self.until());
        let history = self
            .in_time("list the records of a release", history)
            .await?;
        let removed = removal(&history, old.revision, may_be_helms(request));
        if removed != Removal::Loss || self.is_off(Guarded::Records) {
            return self.deleted_by_helm(removed, old).await;
        }
        let mut contents = self.contents(old).await?;
        if !contents.is_readable {
            // Not even Helm can read the release: deleting the record is how to repair it.
            return Err(Undecided::because(Reason::RecordUnreadable));
        }
        if request.name.is_empty() {
            let mut others = sources.recorded_in(namespace);
            others.retain(|other| **other != contents.release);
            contents.involved = others.iter().take(NAMED).map(ToString::to_string).collect();
        }
        let violated = (Guarded::Records, Reason::RecordDeleted);
        let verdict = self.violation(contents, violated, Vec::new());
        self.unless_terminating(verdict).await
    }

    /// A deletion as by Helm: deployers may delete; others may not even prune.
    async fn deleted_by_helm(
        &self,
        removed: Removal,
        old: StoredRecord,
    ) -> Result<Verdict, Undecided> {
        match removed {
            Removal::Gone => Ok(Verdict::because(Reason::HelmsOwn)),
            Removal::Uninstalled if self.is_off(Guarded::Deployers) => {
                Ok(Verdict::because(Reason::Uninstalling))
            }
            _ if self.is_off(Guarded::Deployers) => Ok(Verdict::because(Reason::HelmsOwn)),
            _ => {
                let verdict = self.written_by_helm(self.contents(old).await?);
                if verdict.reason == Reason::HelmsOwn {
                    return Ok(verdict);
                }
                self.unless_terminating(verdict).await
            }
        }
    }
}
