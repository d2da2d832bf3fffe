//! The review of a request: from the request to a verdict, and from the verdict to a decision. The
//! webhook, `check`, `explain` and the replay of recordings all use it.
//!
//! The steps, in order: the early exits ([`helm_guard_core::guard::screen`]), the object and its kind
//! (`location`, `schema`), the verdict (`objects`, or `release_infrastructure` for what releases
//! depend on), break-glass (`break_glass`), the decision ([`helm_guard_core::guard::decide`]).
//!
//! Invariants
//! - No HTTP and no recording: a review has no side effects.
//! - No denial comes from the index: before any verdict other than "allowed" is returned, the records
//!   are read again and the request is evaluated again.
//! - A failure to reach a verdict has its own type (`Undecided`), so that an allowed request is never an error.
//!
//! Start at [`Reviewer::review`].

mod break_glass;
mod cluster_facts;
pub mod conversions;
mod fresh_claims;
mod helm_writes;
mod location;
mod object_review;
mod objects;
mod own_release;
pub mod recorded;
mod release_infrastructure;
mod reviewer;
mod schema;
pub mod sources;
mod undecided;
mod witnesses;

use std::{sync::Arc, time::Instant};

use helm_guard_core::{
    api::Mode,
    guard::{
        ConversionTargets, Decided, Decision, ObjectRef, Operation, Reason, Request, Ruling,
        Verdict, decide, screen,
    },
    policy::Policy,
};

pub use self::{
    break_glass::BreakGlassCheck,
    conversions::ActiveConversions,
    reviewer::{Emergencies, Reviewer},
    sources::{SourceError, Sources},
};
use self::{location::LocatedObject, object_review::ObjectReview, undecided::Undecided};

/// The entry of the registration through which a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An entry for requests in their original version.
    AsRequested,
    /// An entry for a single version, to which others are converted.
    OneVersion,
    /// An entry for release infrastructure: records, namespaces, CRDs.
    ReleaseInfrastructure,
}

/// The result of a review: everything that is answered and recorded.
#[derive(Debug)]
pub struct ReviewResult<'r> {
    /// The policy that was in force.
    pub policy: Arc<Policy>,
    /// What the rules find.
    pub verdict: Verdict,
    /// The enforcement mode that applies.
    pub mode: Mode,
    /// The decision that follows from both.
    pub decision: Decision,
    /// Whether break-glass was used.
    pub break_glass: BreakGlassCheck,
    located: Option<LocatedObject<'r>>,
}

impl ReviewResult<'_> {
    /// The evaluated object, if it is known.
    pub fn object(&self) -> Option<ObjectRef<'_>> {
        self.located.as_ref().map(LocatedObject::object)
    }

    /// Combines it with its request.
    pub fn decided<'a>(
        &'a self,
        request: &'a Request<'a>,
        object: Option<&'a ObjectRef<'a>>,
    ) -> Decided<'a> {
        Decided {
            request,
            object,
            verdict: &self.verdict,
            decision: self.decision,
            mode: self.mode,
        }
    }
}

impl<S: Sources> Reviewer<S> {
    /// Reviews one request. Nothing is recorded.
    pub async fn review<'r>(
        &self,
        request: &'r Request<'_>,
        entry: Entry,
        deadline: Instant,
    ) -> ReviewResult<'r> {
        let policy = self.policy.load_full();
        let (verdict, located) = self.evaluate(&policy, request, entry, deadline).await;
        let break_glass = match (&located, self.emergencies) {
            (Some(located), Emergencies::Considered) => {
                let violation = (&verdict, &located.object());
                break_glass::authorize(&self.sources, &policy, request, violation, deadline).await
            }
            _ => BreakGlassCheck::NotUsed,
        };
        let Ruling {
            verdict,
            mode,
            decision,
        } = decide(verdict, policy.default_mode(), break_glass.access());
        ReviewResult {
            policy,
            verdict,
            mode,
            decision,
            break_glass,
            located,
        }
    }

    async fn evaluate<'r>(
        &self,
        policy: &Policy,
        request: &'r Request<'_>,
        entry: Entry,
        deadline: Instant,
    ) -> (Verdict, Option<LocatedObject<'r>>) {
        if policy.suspension().is_some() {
            return (Verdict::because(Reason::Suspended), None);
        }
        if let Some(reason) = screened(request, entry) {
            return (Verdict::because(unnamed(request, reason)), None);
        }
        let located = match location::locate(&self.sources, request, deadline).await {
            Ok(located) => located,
            Err(Undecided(reason)) => {
                return (Verdict::because(unnamed(request, reason)), None);
            }
        };
        let object = located.object();
        let active = self.conversions.load_full();
        let conversions = match entry {
            Entry::AsRequested => {
                ConversionTargets::Versions(active.versions(object.group, object.kind))
            }
            Entry::OneVersion => ConversionTargets::AllOthers,
            Entry::ReleaseInfrastructure => {
                let verdict =
                    release_infrastructure::verdict(self, policy, request, &object, deadline).await;
                return (verdict, Some(located));
            }
        };
        let review = ObjectReview {
            reviewer: self,
            policy,
            request,
            located: &located,
            conversions,
            deadline,
        };
        let verdict = review.verdict().await;
        (verdict, Some(located))
    }
}

/// Why there is nothing to evaluate, based on the request alone.
fn screened(request: &Request<'_>, entry: Entry) -> Option<Reason> {
    match entry {
        Entry::AsRequested => screen(request),
        Entry::OneVersion => screen(request).or_else(|| unconverted(request)),
        Entry::ReleaseInfrastructure => None,
    }
}

/// An entry for one version is for requests made in another one: requests in that version are
/// evaluated by the ordinary entry. The match condition excludes them, unless somebody removed it.
fn unconverted(request: &Request<'_>) -> Option<Reason> {
    let original = request.request_kind.as_ref().unwrap_or(&request.kind);
    (*original == request.kind).then_some(Reason::NotJudged)
}

/// An unread object without a name differs from an unreadable one: its size must not allow it.
fn unnamed(request: &Request<'_>, reason: Reason) -> Reason {
    match (reason, request.unread, request.operation) {
        (Reason::ObjectUnreadable, Some(_), Operation::Create) => Reason::NotJudged,
        (Reason::ObjectUnreadable, Some(unread), _) => unread.reason(),
        _ => reason,
    }
}
