//! Facts about the cluster that are needed before an exempt controller may act, or before an owner
//! reference counts as a deletion.
//!
//! Invariants
//! - Only read where they can matter: for the controllers that need such a license, and for requests
//!   with relevant owner references.
//! - An unknown fact gives no license. If that would deny a controller because of a failure of the
//!   cluster, [`ClusterFacts::failed`] reports it.

use std::{borrow::Cow, time::Instant};

use helm_guard_core::{
    guard::{Claim, ObjectRef, Operation, Reach, deputies::owners_in_question},
    helm::ReleaseName,
    policy::license::{Autoscaler, Facts, License},
};
use serde_json::Value;
use tokio::time::timeout_at;

use super::{
    object_review::ObjectReview,
    sources::{FreshClaims, LiveOwner, ObjectSource, Sources},
    witnesses::{Attestation, attestations},
};
use crate::releases::{Autoscalers, Autoscaling, WantedRecords};

/// The maximum number of owners that are looked up for a request; real objects do not have more.
const OWNERS: usize = 8;

/// The known facts.
#[derive(Debug, Default)]
pub(super) struct ClusterFacts {
    is_terminating: bool,
    owners: Vec<String>,
    unknown_owners: Vec<String>,
    autoscaler: Autoscaler,
    /// Records elsewhere may declare the autoscaler: a witness must be read.
    pub(crate) is_autoscaler_in_question: bool,
    /// A controller may lack its license because the cluster did not answer.
    pub failed: bool,
}

impl ClusterFacts {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            is_terminating: self.is_terminating,
            owners: &self.owners,
            unknown_owners: &self.unknown_owners,
            autoscaler: self.autoscaler,
        }
    }

    /// The facts known without a call to the API server.
    pub(super) fn known<S: Sources>(review: &ObjectReview<'_, S>) -> Self {
        let sources = &review.reviewer.sources;
        let object = review.located.object();
        let trusts = |namespace: &str| review.policy.records().trusts(namespace);
        let autoscaling =
            asks(review, License::Autoscaler).then(|| sources.autoscaling(&object, &trusts));
        Self {
            is_terminating: asks(review, License::TerminatingNamespace)
                && sources.is_known_terminating(object.namespace),
            autoscaler: match autoscaling {
                None => Autoscaler::Unknown,
                Some(Autoscaling::Declared) => Autoscaler::Declared,
                Some(Autoscaling::InQuestion | Autoscaling::Undeclared) => Autoscaler::Undeclared,
            },
            is_autoscaler_in_question: autoscaling == Some(Autoscaling::InQuestion),
            ..Self::default()
        }
    }

    /// The current facts from the API server.
    pub(super) async fn now<S: Sources>(
        review: &ObjectReview<'_, S>,
        claims: &[Claim],
        until: Instant,
    ) -> Self {
        let sources = &review.reviewer.sources;
        let object = review.located.object();
        let mut facts = Self::default();
        if asks(review, License::TerminatingNamespace) {
            let asking = sources.is_terminating(object.namespace, until);
            match timeout_at(until.into(), asking).await {
                Ok(Ok(is_terminating)) => facts.is_terminating = is_terminating,
                _ => facts.failed = true,
            }
        }
        if asks(review, License::Autoscaler) {
            let trusts = |namespace: &str| review.policy.records().trusts(namespace);
            let asking = sources.autoscalers(&object, &trusts, until);
            facts.autoscaler = match timeout_at(until.into(), asking).await {
                Ok(Ok(found)) if is_declared(sources, &found, until).await => Autoscaler::Declared,
                Ok(Ok(_)) => Autoscaler::Undeclared,
                _ => {
                    facts.failed = true;
                    Autoscaler::Undeclared
                }
            };
        }
        if review.request.operation == Operation::Update || asks(review, License::Owner) {
            facts.look_up_owners(review, claims, until).await;
        }
        facts
    }

    async fn look_up_owners<S: Sources>(
        &mut self,
        review: &ObjectReview<'_, S>,
        claims: &[Claim],
        until: Instant,
    ) {
        let releases: Vec<ReleaseName> = claims
            .iter()
            .map(|claim| (*claim.release).clone())
            .collect();
        let sources = &review.reviewer.sources;
        let object = review.located.object();
        let is_delete = review.request.operation == Operation::Delete;
        for owner in owners_in_question(review.request).iter().take(OWNERS) {
            let Some(owner) = ReferencedOwner::of(owner) else {
                continue;
            };
            match owner
                .look_up(sources, object.namespace, &releases, until)
                .await
            {
                OwnerState::Live(uid) if uid == owner.uid => self.owners.push(uid),
                // The deletion of the owner was evaluated itself.
                OwnerState::Gone if is_delete => self.owners.push(owner.uid.to_owned()),
                OwnerState::Undeclared | OwnerState::Live(_) | OwnerState::Gone => {}
                OwnerState::Unknown => self.unknown_owners.push(owner.uid.to_owned()),
            }
        }
    }
}

async fn is_declared<S: ObjectSource>(sources: &S, found: &Autoscalers, until: Instant) -> bool {
    let attestations = attestations(sources, found.in_question.iter(), until);
    found.is_declared || attestations.await.contains(&Attestation::Counts)
}

/// Whether the requester is a controller that needs this license for its request.
fn asks<S>(review: &ObjectReview<'_, S>, license: License) -> bool {
    let request = review.request;
    let is_it = match license {
        License::TerminatingNamespace | License::Owner => request.operation == Operation::Delete,
        _ => request.sub_resource == "scale",
    };
    is_it
        && review
            .policy
            .has_license(request.user_info.identity(), license)
}

/// The target of an owner reference.
struct ReferencedOwner<'o> {
    api_version: &'o str,
    kind: &'o str,
    name: &'o str,
    uid: &'o str,
}

enum OwnerState {
    /// No claiming release declares it.
    Undeclared,
    /// Declared, and exists with this uid.
    Live(String),
    /// Declared, and missing.
    Gone,
    /// It could not be read.
    Unknown,
}

impl<'o> ReferencedOwner<'o> {
    fn of(owner: &'o Value) -> Option<Self> {
        let text = |field| owner.get(field).and_then(Value::as_str);
        Some(Self {
            api_version: text("apiVersion")?,
            kind: text("kind")?,
            name: text("name")?,
            uid: text("uid")?,
        })
    }

    /// Looks it up in the namespace of its dependent, then among cluster-scoped objects.
    async fn look_up<S: Sources>(
        &self,
        sources: &S,
        namespace: &str,
        releases: &[ReleaseName],
        until: Instant,
    ) -> OwnerState {
        let group = self
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        let scopes = if namespace.is_empty() {
            vec![""]
        } else {
            vec![namespace, ""]
        };
        for namespace in scopes {
            let object = ObjectRef {
                group,
                kind: self.kind,
                namespace,
                name: Cow::Borrowed(self.name),
            };
            let declares =
                |claim: &Claim| releases.contains(&claim.release) && claim.reach != Reach::Copy;
            let mut indexed = sources.claims(&object);
            indexed.retain(declares);
            let wanted = WantedRecords {
                claims: &indexed,
                named: releases,
            };
            let reading = sources.fresh_claims(&object, &wanted, until);
            let Ok(FreshClaims { claims, unread }) = timeout_at(until.into(), reading).await else {
                return OwnerState::Unknown;
            };
            if !claims.iter().any(declares) {
                if unread.is_empty() {
                    continue;
                }
                return OwnerState::Unknown;
            }
            let owner = LiveOwner {
                api_version: self.api_version,
                kind: self.kind,
                namespace,
                name: self.name,
            };
            let reading = sources.live_uid(&owner, until);
            return match timeout_at(until.into(), reading).await {
                Ok(Ok(Some(uid))) => OwnerState::Live(uid),
                Ok(Ok(None)) => OwnerState::Gone,
                Ok(Err(error)) => {
                    tracing::warn!(
                        kind = self.kind,
                        namespace,
                        error,
                        "failed to read an owner"
                    );
                    OwnerState::Unknown
                }
                Err(_) => OwnerState::Unknown,
            };
        }
        OwnerState::Undeclared
    }
}
