//! What a decision depends on: one object of a request, what releases declare of it, and the rules in force.

use std::sync::Arc;

use super::{claim::Claim, request::Request, subject::ObjectRef};
use crate::{
    compare::{dig, redact::Redactor, rules::EmptyListPolicy, schema::Shape},
    policy::{
        Act, Labels, ObjectPlace, Policy, Requester, RuleObject,
        license::{Evidence, Facts},
        tree::Tree,
    },
};

/// What is known about the fields of the request's kind.
#[derive(Clone, Copy, Debug)]
pub enum Knowledge<'a> {
    /// A built-in kind.
    Builtin(Shape<'a>),
    /// A custom resource, or a kind of an aggregated API; lists are atomic where its schema says
    /// nothing.
    Custom(Shape<'a>),
    /// A custom resource whose schema could not be read. Nothing that depends on the schema is denied.
    Unavailable,
}

impl<'a> Knowledge<'a> {
    /// The types of its fields.
    pub fn shape(self) -> Shape<'a> {
        match self {
            Self::Builtin(shape) | Self::Custom(shape) => shape,
            Self::Unavailable => Shape::plain(),
        }
    }

    /// How empty lists are stored.
    pub fn empties(self) -> EmptyListPolicy {
        match self {
            Self::Builtin(_) => EmptyListPolicy::Dropped,
            Self::Custom(_) | Self::Unavailable => EmptyListPolicy::Kept,
        }
    }
}

/// The versions of the object's kind for which the API server calls the webhook again, with converted
/// objects.
///
/// A manifest in autoscaling/v1 and an edit through v2 do not compare, so the registration has an
/// entry for v1 alone, and the API server converts the objects of the edit for it. Each claim is
/// evaluated in one of these calls: the one whose version its newest manifest has.
#[derive(Clone, Copy, Debug)]
pub enum ConversionTargets<'a> {
    /// These; none, where nothing of the kind is registered.
    Versions(&'a [Box<str>]),
    /// All but this call's own version, which has an entry for a single version.
    AllOthers,
}

impl ConversionTargets<'_> {
    /// Whether another call than this one has this version.
    fn has(self, version: &str) -> bool {
        match self {
            Self::Versions(versions) => versions.iter().any(|other| **other == *version),
            Self::AllOthers => true,
        }
    }
}

/// Everything that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// What the API server asks about.
    pub request: &'q Request<'q>,
    /// The object that is evaluated: the parent, for a scale request.
    pub object: &'q ObjectRef<'q>,
    /// What the releases declare about it.
    pub claims: &'q [Claim],
    /// What is known about its kind.
    pub knowledge: Knowledge<'q>,
    /// The versions in which other calls evaluate the request.
    pub conversions: ConversionTargets<'q>,
    /// The path of the parent's replicas, as field names; for a scale request.
    pub replicas_path: &'q [&'q str],
    /// The rules in force.
    pub policy: &'q Policy,
    /// The labels of the object's namespace.
    pub labels: Labels<'q>,
    /// Facts about the cluster for exempt controllers.
    pub facts: Facts<'q>,
    /// Shows or redacts values.
    pub redactor: &'q Redactor,
}

impl Question<'_> {
    /// The place of the object, from the view of one release.
    pub(super) fn object<'c>(&'c self, claim: &'c Claim, manifest: &'c Tree<'c>) -> RuleObject<'c> {
        RuleObject {
            place: ObjectPlace {
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

    /// The rule under which this change is allowed for one release.
    pub(super) fn exemption(&self, of: &ClaimContext<'_>, act: Act<'_>) -> Option<Arc<str>> {
        let object = self.object(of.claim, &of.manifest);
        self.policy.exemption(self.requester(of), &object, act)
    }

    /// The rule that allows an autoscaler that no release declares.
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

    /// What rules match on, for one release.
    pub(super) fn of<'c>(&'c self, claim: &'c Claim) -> ClaimContext<'c> {
        ClaimContext {
            claim,
            manifest: claim.tree(),
            manifests: self.claims.iter().flat_map(Claim::trees).collect(),
            old_object: self.request.old_object.map(|old| Tree::of(old.get())),
        }
    }

    /// Whether the object is already being deleted, so that deleting it changes nothing.
    pub(super) fn is_deleted_already(&self) -> bool {
        let old = self.request.old_object;
        old.is_some_and(|old| dig(old.get(), &["metadata", "deletionTimestamp"]).is_some())
    }

    /// Whether another call evaluates this release's claim on the object.
    pub(super) fn is_deferred(&self, claim: &Claim) -> bool {
        claim.version().is_some_and(|version| {
            version != self.request.kind.version && self.conversions.has(version)
        })
    }
}

/// A claim with the objects that rules look at: the declared one and the live one.
pub(super) struct ClaimContext<'c> {
    pub(super) claim: &'c Claim,
    pub(super) manifest: Tree<'c>,
    /// The object in every active manifest of every claiming release.
    pub(super) manifests: Vec<Tree<'c>>,
    pub(super) old_object: Option<Tree<'c>>,
}

impl ClaimContext<'_> {
    /// Where a license of an exempt controller may be.
    pub(super) fn evidence<'e>(&'e self, question: &Question<'e>) -> Evidence<'e> {
        Evidence {
            manifests: &self.manifests,
            facts: question.facts,
        }
    }
}
