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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("shop", "shop", Reach::Own)]
    #[case("shop", "ops", Reach::Elsewhere)]
    #[case::cluster_scoped("shop", "", Reach::Elsewhere)]
    fn a_record_reaches_its_own_namespace(
        #[case] storage: &str,
        #[case] namespace: &str,
        #[case] expected: Reach,
    ) {
        assert_eq!(Reach::of(storage, namespace), expected);
    }

    #[rstest]
    #[case::update("UPDATE", "", true)]
    #[case::status("UPDATE", "status", true)]
    #[case::delete("DELETE", "", true)]
    #[case::scale("UPDATE", "scale", false)]
    #[case::eviction("CREATE", "eviction", false)]
    fn the_owner_is_that_of_the_old_object_unless_it_is_another_object(
        #[case] operation: &str,
        #[case] subresource: &str,
        #[case] is_shown: bool,
    ) {
        let owned = json!({"metadata": {"annotations": {
            "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop",
        }}});
        let of = |old: serde_json::Value| {
            let text = json!({
                "uid": "1", "operation": operation, "subResource": subresource, "oldObject": old,
            })
            .to_string();
            NamedOwner::of(&serde_json::from_str(&text).unwrap())
        };
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let known = |owner| {
            if is_shown {
                NamedOwner::Known(owner)
            } else {
                NamedOwner::Unseen
            }
        };
        assert_eq!(of(owned), known(Some(release)));
        assert_eq!(of(json!({})), known(None));
        assert_eq!(of(json!(null)), NamedOwner::Unseen);
    }
}
