//! The rule of the decision, as a whole:
//!
//! - **DELETE** is a violation when every active manifest of a release holds the object, unless
//!   `helm uninstall` runs for that release.
//! - **UPDATE** is a violation when it changes a declared path to a value that no active manifest
//!   declares for it (see [`crate::compare::walk`] for what a path is).
//! - **Scale** is an UPDATE of the parent's replicas.
//! - **A status write**, and each other subresource that keeps metadata, is an UPDATE of the metadata
//!   alone. An **eviction** is the DELETE of the Pod ([`super::subject::effect`]).
//!
//! - An UPDATE that would make an exempt controller delete or change the object is judged as that (see
//!   [`super::deputies`]).
//! - An UPDATE that is none may still change what no release declares; where a policy wants to know,
//!   that is a violation too (see [`super::undeclared`]).
//!
//! Each release that claims the object judges for itself, so that one release cannot open what
//! another declares; yet a value that *any* claiming release declares is legitimate, or
//! `--take-ownership` could not hand an object over.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{
    change::{Judged, at, judge_update},
    claim::{Claim, Deletion},
    deputies::{joined, judge_deputies},
    ownership::named,
    request::Request,
    scale::judge_replicas,
    subject::{Effect, ObjectRef, effect, is_binding},
    undeclared::judge_undeclared,
    verdict::{Finding, Outcome, Reason, Verdict},
};
use crate::{
    compare::{Json, dig, redact::Redactor, schema::Shape, values::Empties},
    policy::{
        Act, Labels, Object, Place, Policy, Requester,
        license::{Evidence, Facts},
        tree::Tree,
    },
};

/// What is known of the fields of the request's kind.
#[derive(Clone, Copy, Debug)]
pub enum Knowledge<'a> {
    /// A built-in kind.
    Builtin(Shape<'a>),
    /// A custom resource, or a kind of an aggregated API; lists are atomic where its schema says
    /// nothing.
    Custom(Shape<'a>),
    /// A custom resource whose schema could not be read. What hangs on it is not denied.
    Unavailable,
}

impl<'a> Knowledge<'a> {
    pub(super) fn shape(self) -> Shape<'a> {
        match self {
            Self::Builtin(shape) | Self::Custom(shape) => shape,
            Self::Unavailable => Shape::plain(),
        }
    }

    pub(super) fn empties(self) -> Empties {
        match self {
            Self::Builtin(_) => Empties::Dropped,
            Self::Custom(_) | Self::Unavailable => Empties::Kept,
        }
    }
}

/// The versions of the object's kind to which the API server converts this request for calls of their
/// own.
///
/// A manifest in autoscaling/v1 and an edit through v2 do not compare, so the registration has an
/// entry for v1 alone, and the API server converts the objects of the edit for it. Each claim is
/// evaluated in one of these calls: the one whose version its newest manifest has.
#[derive(Clone, Copy, Debug)]
pub enum ConversionTargets<'a> {
    /// These; none, where nothing of the kind is registered.
    Versions(&'a [Box<str>]),
    /// All but this call's own, which is one of an entry for a single version.
    AllOthers,
}

impl ConversionTargets<'_> {
    /// Whether a call of its own, other than this one, has this version.
    fn has(self, version: &str) -> bool {
        match self {
            Self::Versions(versions) => versions.iter().any(|other| **other == *version),
            Self::AllOthers => true,
        }
    }
}

/// Everything that a judgement depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The request.
    pub request: &'q Request<'q>,
    /// The object that is judged: the parent, for a scale request.
    pub object: &'q ObjectRef<'q>,
    /// What the releases say of it.
    pub claims: &'q [Claim],
    /// What is known of its kind.
    pub knowledge: Knowledge<'q>,
    /// In which versions the request is evaluated in other calls.
    pub conversions: ConversionTargets<'q>,
    /// Where the parent keeps its replicas, as field names; for a scale request.
    pub replicas_path: &'q [&'q str],
    /// The rules in force.
    pub policy: &'q Policy,
    /// The labels of the object's namespace.
    pub labels: Labels<'q>,
    /// What was found out about the cluster for exempt controllers.
    pub facts: Facts<'q>,
    /// Shows values.
    pub redactor: &'q Redactor,
}

impl Question<'_> {
    /// The object as one release has it.
    pub(super) fn object<'c>(&'c self, claim: &'c Claim, manifest: &'c Tree<'c>) -> Object<'c> {
        Object {
            place: Place {
                group: self.object.group,
                kind: self.object.kind,
                namespace: self.object.namespace,
                release: &claim.release,
                chart: &claim.chart,
            },
            version: claim.version().unwrap_or(&self.request.kind.version),
            name: &self.object.name,
            labels: self.labels,
            manifest: Some(manifest),
        }
    }

    /// The rule under which this passes as far as one release is concerned.
    pub(super) fn exemption(&self, of: &ClaimContext<'_>, act: Act<'_>) -> Option<Arc<str>> {
        let object = self.object(of.claim, &of.manifest);
        self.policy.exemption(self.requester(of), &object, act)
    }

    /// The rule that lets an autoscaler through although no release declares it.
    pub(super) fn undeclared_autoscaler(&self, of: &ClaimContext<'_>) -> Option<Arc<str>> {
        let object = self.object(of.claim, &of.manifest);
        self.policy
            .undeclared_autoscaler(self.requester(of), &object, Act::Scale)
    }

    fn requester<'c>(&'c self, of: &'c ClaimContext<'_>) -> Requester<'c> {
        Requester {
            identity: self.request.user_info.identity(),
            field_manager: self.request.field_manager(),
            old_object: of.old_object.as_ref(),
            evidence: of.evidence(self),
        }
    }

    /// What rules are asked of, for one release.
    pub(super) fn of<'c>(&'c self, claim: &'c Claim) -> ClaimContext<'c> {
        ClaimContext {
            claim,
            manifest: claim.tree(),
            manifests: self.claims.iter().flat_map(Claim::trees).collect(),
            old_object: self.request.old_object.map(|old| Tree::of(old.get())),
        }
    }

    /// Whether another call evaluates what this release says of the object.
    pub(super) fn is_deferred(&self, claim: &Claim) -> bool {
        claim.version().is_some_and(|version| {
            version != self.request.kind.version && self.conversions.has(version)
        })
    }
}

/// A claim with what rules look at: the declared object, and the live one.
pub(super) struct ClaimContext<'c> {
    pub(super) claim: &'c Claim,
    pub(super) manifest: Tree<'c>,
    /// The object in every active manifest of every claiming release.
    pub(super) manifests: Vec<Tree<'c>>,
    pub(super) old_object: Option<Tree<'c>>,
}

impl ClaimContext<'_> {
    /// Where the license of an exempt controller is looked for.
    pub(super) fn evidence<'e>(&'e self, question: &Question<'e>) -> Evidence<'e> {
        Evidence {
            manifests: &self.manifests,
            facts: question.facts,
        }
    }
}

/// Judges a request that [`super::screen`] let through.
pub fn judge(question: &Question<'_>) -> Verdict {
    if question.claims.is_empty() {
        return Verdict::because(Reason::NotDeclared);
    }
    match (effect(question.request), question.request.unread) {
        // A deletion is judged by the name of its object.
        (Some(Effect::Delete), _) => judge_delete(question),
        (Some(_), Some(unread)) => judge_unread(question, unread.reason()),
        (Some(write), None) => judge_write(question, write),
        (None, _) => Verdict::because(Reason::NotJudged),
    }
}

fn judge_write(question: &Question<'_>, effect: Effect) -> Verdict {
    let request = question.request;
    // A binding adds to metadata that it does not show.
    let unknown = || is_binding(request).then(|| Json::of("{}"));
    let (Some(old), Some(new)) = (request.old_json().or_else(unknown), request.new_json()) else {
        return Verdict::because(Reason::ObjectUnreadable);
    };
    let kept;
    let (old, new) = if effect == Effect::UpdateMetadata {
        kept = [old, new].map(metadata_alone);
        let [old, new] = &kept;
        (Json::of(old), Json::of(new))
    } else {
        (old, new)
    };
    let judge_one = |claim: &Claim| match effect {
        Effect::Scale => judge_replicas(question, claim, old, new),
        // Metadata is the same in every version, and no other call is made for a subresource.
        Effect::Update if question.is_deferred(claim) => Judged::DeferredToOtherVersion,
        _ => judge_update(question, claim, old, new),
    };
    let judged = question.claims.iter();
    let verdict = sum_up(question, judged.map(|claim| (claim, judge_one(claim))));
    let verdict = match effect {
        Effect::Scale => verdict,
        _ => joined(verdict, judge_deputies(question, old, new)),
    };
    if verdict.reason.outcome() != Outcome::Pass || effect == Effect::Scale {
        return verdict;
    }
    let verdict = judge_undeclared(question, (old.text(), new.text())).unwrap_or(verdict);
    named(question, verdict, (old, new))
}

/// A write of which nobody knows what it changes: it violates what every active manifest of a release
/// holds.
fn judge_unread(question: &Question<'_>, reason: Reason) -> Verdict {
    let guarding = question.claims.iter().filter(|claim| !claim.leaves_free());
    let findings: Vec<_> = guarding
        .map(|claim| claim.finding(question, Vec::new()))
        .collect();
    if findings.is_empty() {
        return Verdict::because(Reason::NothingDeclaredChanges);
    }
    Verdict::with_findings(reason, findings)
}

/// An object that has nothing but the metadata of this one.
fn metadata_alone(object: Json<'_>) -> String {
    let metadata = at(object, &["metadata"]).map_or("{}", Json::text);
    format!(r#"{{"metadata":{metadata}}}"#)
}

/// Whether the object is on its way out already, so that deleting it takes nothing away.
pub(super) fn is_being_deleted(request: &Request<'_>) -> bool {
    let old = request.old_object;
    old.is_some_and(|old| dig(old.get(), &["metadata", "deletionTimestamp"]).is_some())
}

fn judge_delete(question: &Question<'_>) -> Verdict {
    if is_being_deleted(question.request) {
        return Verdict::because(Reason::NothingDeclaredChanges);
    }
    let mut findings = Vec::new();
    let mut reason = Reason::NotDeclared;
    let mut exempt = None;
    for claim in question.claims {
        if let Some(rule) = question.exemption(&question.of(claim), Act::Delete) {
            exempt = Some(rule);
            continue;
        }
        match claim.deletion() {
            Deletion::Free(Reason::NotDeclared) => {}
            Deletion::Free(why) => reason = why,
            Deletion::Unreadable => reason = Reason::RecordUnreadable,
            Deletion::Held => findings.push(claim.finding(question, Vec::new())),
        }
    }
    match (findings.is_empty(), reason.outcome(), exempt) {
        (false, ..) => Verdict::with_findings(Reason::ObjectDeleted, findings),
        (true, Outcome::Pass, Some(rule)) => Verdict::exempt(rule),
        (true, ..) => Verdict::because(reason),
    }
}

/// One verdict of what each release says: a violation outweighs what nobody can say, and that
/// outweighs a pass.
fn sum_up<'c>(
    question: &Question<'_>,
    judged: impl Iterator<Item = (&'c Claim, Judged)>,
) -> Verdict {
    let mut findings: Vec<Finding> = Vec::new();
    let mut undecided = None;
    let mut exempt = None;
    let mut deferred = None;
    let mut autoscaled = Vec::new();
    for (claim, judged) in judged {
        match judged {
            Judged::Passes => {}
            Judged::DeferredToOtherVersion => deferred = Some(Reason::JudgedInDeclaredVersion),
            Judged::Exempt(preset) => exempt = Some(preset),
            Judged::Autoscaled(preset, changes) => {
                exempt = Some(preset);
                autoscaled.push(claim.finding(question, changes));
            }
            Judged::Undecided(reason) => undecided = Some(reason),
            Judged::Violates(changes) => findings.push(claim.finding(question, changes)),
        }
    }
    if !findings.is_empty() {
        return Verdict::with_findings(Reason::FieldsChanged, findings);
    }
    match (undecided.or(deferred), exempt) {
        (Some(reason), _) => Verdict::because(reason),
        (None, rule) if !autoscaled.is_empty() => Verdict {
            exemption: rule,
            ..Verdict::with_findings(Reason::UndeclaredAutoscaler, autoscaled)
        },
        (None, Some(rule)) => Verdict::exempt(rule),
        (None, None) => Verdict::because(Reason::NothingDeclaredChanges),
    }
}
