//! Namespaces and CRDs that releases depend on.

use helm_guard_core::{
    compare::dig,
    guard::{
        Finding, Raw, Reason, Verdict,
        records::{AffectedRelease, Defined, DeletionTarget, edit::new_owners, is_leaving},
    },
    helm::record::ApplyMethod,
    policy::{Act, PathChange, license::Facts, records::Guarded},
};
use serde_json::Value;

use super::infrastructure_review::InfrastructureReview;
use crate::review::{
    sources::{FreshHolders, Sources},
    undecided::Undecided,
    witnesses::{Attestation, attestations},
};

impl<S: Sources> InfrastructureReview<'_, S> {
    pub(super) async fn namespace_deletion(&self) -> Result<Verdict, Undecided> {
        if self.request.old_object.is_some_and(is_leaving) {
            return Ok(Verdict::because(Reason::NothingDeclaredChanges));
        }
        let deletion = DeletionTarget::Namespace(&self.object.name);
        let reason = Reason::NamespaceHoldsReleases;
        self.held(deletion, (Guarded::Namespaces, reason)).await
    }

    pub(super) async fn crd_deletion(&self) -> Result<Verdict, Undecided> {
        let unreadable = Undecided::because(Reason::ObjectUnreadable);
        let old = self.request.old_object.ok_or(unreadable)?;
        if is_leaving(old) {
            return Ok(Verdict::because(Reason::NothingDeclaredChanges));
        }
        let defined = Defined::by(old).ok_or(unreadable)?;
        let deletion = DeletionTarget::Crd(&defined);
        let reason = Reason::DefinitionInUse;
        self.held(deletion, (Guarded::Crds, reason)).await
    }

    /// A new owner reference is evaluated as the deletion that it causes.
    pub(super) async fn new_owner(&self) -> Result<Verdict, Undecided> {
        let changes = new_owners(
            &owner_references(self.request.old_object),
            &owner_references(self.request.object),
        );
        let Some(first) = changes.first() else {
            return Ok(Verdict::because(Reason::NothingDeclaredChanges));
        };
        let act = Act::Change(PathChange {
            path: &first.path,
            old: None,
            new: None,
        });
        if let Some(rule) = self.exemption(Facts::default(), act) {
            return Ok(Verdict::exempt(rule));
        }
        let mut verdict = match self.object.kind {
            "Namespace" => self.namespace_deletion().await,
            _ => self.crd_deletion().await,
        }?;
        for finding in &mut verdict.findings {
            finding.changes.clone_from(&changes);
        }
        Ok(verdict)
    }

    /// Whether releases would lose something.
    async fn held(
        &self,
        deletion: DeletionTarget<'_>,
        (guarded, reason): (Guarded, Reason),
    ) -> Result<Verdict, Undecided> {
        if self.is_off(guarded) {
            return Ok(Verdict::because(Reason::NotJudged));
        }
        let reviewer = self.reviewer;
        let own = reviewer.own.as_ref().map(|own| &*own.namespace);
        let is_own = |holder: &AffectedRelease| {
            matches!(deletion, DeletionTarget::Namespace(namespace) if own == Some(namespace))
                && reviewer.is_own(&holder.claimant.release, &holder.chart)
        };
        let holders = self.holders(deletion).await?;
        let (own, others): (Vec<_>, Vec<_>) = holders.into_iter().partition(is_own);
        let finding = |holder: AffectedRelease| {
            Some(Finding {
                mode: self.mode(guarded, &holder.claimant.release, &holder.chart)?,
                release: holder.claimant.release,
                chart: holder.chart,
                apply_method: ApplyMethod::default(),
                revisions: holder.revisions,
                changes: Vec::new(),
                involved: holder.objects,
            })
        };
        let findings: Vec<_> = others.into_iter().filter_map(finding).collect();
        if !findings.is_empty() {
            return Ok(Verdict::with_findings(reason, findings));
        }
        match (reviewer.sources.is_complete(), own.is_empty()) {
            (false, _) => Err(Undecided::because(Reason::IndexIncomplete)),
            (true, false) => Ok(Verdict::because(Reason::OwnRelease)),
            (true, true) => Ok(Verdict::because(Reason::NotDeclared)),
        }
    }

    /// The releases that would lose something. Instances that the guard may not read still protect a CRD,
    /// because no webhook is called for instances that are deleted with it. They do not protect a
    /// namespace: otherwise anyone who may write records anywhere could block its deletion.
    async fn holders(
        &self,
        deletion: DeletionTarget<'_>,
    ) -> Result<Vec<AffectedRelease>, Undecided> {
        let sources = &self.reviewer.sources;
        let trusts = |namespace: &str| self.policy.records().trusts(namespace);
        let reading = async { Ok(sources.fresh_holders(deletion, &trusts, self.until()).await) };
        let FreshHolders {
            holders,
            mut failure,
        } = self.in_time("read release records again", reading).await?;
        let claimants = holders.iter().map(|holder| &holder.claimant);
        let attestations = attestations(sources, claimants, self.until()).await;
        let mut counting = Vec::new();
        for (holder, attestation) in holders.into_iter().zip(attestations) {
            match (attestation, deletion) {
                (Attestation::Counts, _) | (Attestation::Forbidden, DeletionTarget::Crd(_)) => {
                    counting.push(holder);
                }
                (Attestation::Forbidden | Attestation::Unknown, _) => {
                    let release = &holder.claimant.release;
                    failure = Some(format!("no object of release {release} could be read").into());
                }
                (Attestation::Unnamed, _) => {}
            }
        }
        match failure {
            Some(error) if counting.is_empty() => {
                let namespace = self.object.namespace;
                tracing::warn!(
                    namespace,
                    error,
                    "failed to find out who would lose something"
                );
                Err(Undecided::because(Reason::ReadThroughFailed))
            }
            _ => Ok(counting),
        }
    }
}

fn owner_references(object: Option<Raw<'_>>) -> Vec<Value> {
    let list = object.and_then(|object| dig(object.get(), &["metadata", "ownerReferences"]));
    list.and_then(|list| serde_json::from_str(list).ok())
        .unwrap_or_default()
}
