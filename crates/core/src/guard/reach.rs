//! How far a record reaches: in its own namespace, and elsewhere only to objects whose annotations
//! name the release.
//!
//! Anyone who may write a Secret can write a release record, and its manifest may name any object. So
//! a claim on an object outside the namespace that holds the record counts only if the ownership
//! annotations of the *old* object name that release (Helm sets them on everything it writes), or if
//! the policy trusts the namespace of the records (`spec.records.trustedNamespaces`). A claim that
//! rests on trust alone guards its object, and never excuses a violation of another release.
//!
//! Start at [`super::settle`].

use super::{
    request::{Operation, Request},
    subject::owner,
};
use crate::helm::ReleaseName;

/// How the record behind a claim relates to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The object's ownership annotations name the release.
    Named,
    /// The record is in the object's namespace.
    Own,
    /// The policy trusts the namespace of the record, or the object's owner is not known yet: the claim
    /// counts and excuses nothing.
    Trusted,
    /// The record is in another namespace, or the object is cluster-scoped.
    Elsewhere,
    /// The record is in another namespace than its release, which has records of that name in its own
    /// namespace: a restored or copied namespace, usually.
    Copy,
}

impl Reach {
    /// The reach of a record in the namespace `storage` to an object in `namespace`, which is empty for a
    /// cluster-scoped one.
    pub fn of(storage: &str, namespace: &str) -> Self {
        if storage == namespace {
            Self::Own
        } else {
            Self::Elsewhere
        }
    }

    /// Whether the claim may excuse a violation of another release.
    pub(crate) fn excuses(self) -> bool {
        matches!(self, Self::Named | Self::Own)
    }
}

/// The release that the object named before the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedOwner {
    /// This release, or none.
    Known(Option<ReleaseName>),
    /// The request does not contain the object: a Scale has none of its parent's annotations.
    Unseen,
}

impl NamedOwner {
    /// The owner that the request's old object names.
    pub fn of(request: &Request<'_>) -> Self {
        let shows = match &*request.sub_resource {
            "scale" => false,
            // An eviction is a CREATE without the Pod.
            _ => request.operation != Operation::Create,
        };
        match request.old_object {
            Some(old) if shows => Self::Known(owner(old)),
            _ => Self::Unseen,
        }
    }
}
