//! What a decision depends on: one object of a request, what releases declare of it, and the rules in force.

use std::sync::Arc;

use super::{claim::Claim, request::Request, subject::ObjectRef};
use crate::{
    compare::{dig, redact::Redactor, rules::Empties, schema::Shape},
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

    /// Whether the object is being deleted already, so that deleting it takes nothing away.
    pub(super) fn is_deleted_already(&self) -> bool {
        let old = self.request.old_object;
        old.is_some_and(|old| dig(old.get(), &["metadata", "deletionTimestamp"]).is_some())
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
