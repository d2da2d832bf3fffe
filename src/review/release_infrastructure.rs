//! Requests to release infrastructure: records, namespaces, CRDs.
//!
//! Invariants
//! - Nothing is denied from the index: a denial is based on the request itself, or on reads after its
//!   arrival.
//! - What Helm may have done is allowed, whoever did it ([`helm_guard_core::guard::records`]).
//! - A record is decoded on a thread that may block, within the budget of all decoding
//!   ([`crate::releases::decoding`]), and its content is shown to nobody.
//!
//! Start at [`verdict`].

mod dependents;
mod infrastructure_review;
mod record_contents;
mod record_writes;
mod unread;

use std::time::Instant;

use helm_guard_core::{
    guard::{ObjectRef, Operation, Reason, Request, Unread, Verdict},
    policy::{Act, Labels, Policy, license::Facts},
};

use self::infrastructure_review::{InfrastructureReview, namespace_of};
use super::{reviewer::Reviewer, sources::Sources, undecided::Undecided};

/// Evaluates a request that came through the entries for release infrastructure.
pub(super) async fn verdict<S: Sources>(
    reviewer: &Reviewer<S>,
    policy: &Policy,
    request: &Request<'_>,
    object: &ObjectRef<'_>,
    deadline: Instant,
) -> Verdict {
    let namespace = namespace_of(object);
    let labels = reviewer.sources.namespace_labels(namespace);
    let review = InfrastructureReview {
        reviewer,
        policy,
        request,
        object,
        labels: labels.as_deref().map_or(Labels::Unknown, Labels::Known),
        deadline,
    };
    review.verdict().await.unwrap_or_else(Verdict::from)
}

impl<S: Sources> InfrastructureReview<'_, S> {
    async fn verdict(&self) -> Result<Verdict, Undecided> {
        let request = self.request;
        // Both store the metadata of a namespace or a CRD as they receive it.
        let is_evaluated = match &*request.sub_resource {
            "" => true,
            "status" | "finalize" => request.operation == Operation::Update,
            _ => false,
        };
        if !is_evaluated {
            return Ok(Verdict::because(Reason::NotJudged));
        }
        let sources = &self.reviewer.sources;
        let facts = Facts {
            is_terminating: sources.is_known_terminating(self.object.namespace),
            ..Facts::default()
        };
        if request.operation == Operation::Delete
            && let Some(rule) = self.exemption(facts, Act::Delete)
        {
            return Ok(Verdict::exempt(rule));
        }
        // The deletion of a namespace is evaluated by name.
        let is_named = (self.object.kind, request.operation) == ("Namespace", Operation::Delete);
        if let Some(unread) = request.unread
            && !(is_named && unread != Unread::Late)
        {
            return Ok(self.unread(unread));
        }
        match (self.object.group, self.object.kind, request.operation) {
            ("", "Secret" | "ConfigMap", _) => self.record_write().await,
            ("", "Namespace", Operation::Delete) => self.namespace_deletion().await,
            ("apiextensions.k8s.io", "CustomResourceDefinition", Operation::Delete) => {
                self.crd_deletion().await
            }
            ("", "Namespace", Operation::Update)
            | ("apiextensions.k8s.io", "CustomResourceDefinition", Operation::Update) => {
                self.new_owner().await
            }
            _ => Ok(Verdict::because(Reason::NotJudged)),
        }
    }
}
