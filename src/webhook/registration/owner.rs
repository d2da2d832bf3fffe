//! The ClusterRole that owns the registration, so that Kubernetes' garbage collector removes the registration
//! with the installation.
//!
//! The guard writes the registration, so `kubectl delete` and `helm uninstall` do not remove it. A registration
//! that is left behind costs each write a timeout. A cluster-scoped object can only be owned by another one, and
//! the guard's ClusterRole is part of every installation.
//!
//! Invariants
//! - An owner reference has the current `uid` of the ClusterRole. With another one, the garbage collector
//!   deletes the registration.
//! - While the ClusterRole is gone, no registration is created: the garbage collector would remove it again.
//! - If the ClusterRole cannot be read, owner references stay as they are.

use k8s_openapi::{api::rbac::v1::ClusterRole, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client};

use crate::cluster::failure::ApiFailure;

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const KIND: &str = "ClusterRole";

/// What Kubernetes deletes the registration with.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RegistrationOwner {
    /// No owner is configured, or it could not be read: references stay as they are.
    #[default]
    AsItIs,
    /// A ClusterRole.
    Present(OwnerReference),
    /// A ClusterRole that is gone or is being deleted.
    Gone(String),
}

impl RegistrationOwner {
    /// Reads the ClusterRole of this name.
    pub async fn read(client: &Client, name: &str) -> Result<Self, ApiFailure> {
        let roles: Api<ClusterRole> = Api::all(client.clone());
        let found = roles.get_metadata_opt(name).await?;
        let present = found
            .map(|role| role.metadata)
            .filter(|metadata| metadata.deletion_timestamp.is_none())
            .and_then(|metadata| metadata.uid);
        Ok(match present {
            Some(uid) => Self::Present(reference(name, uid)),
            None => Self::Gone(name.to_owned()),
        })
    }

    /// The wanted references; `None` if they stay as they are.
    pub(super) fn references(&self) -> Option<Vec<OwnerReference>> {
        match self {
            Self::Present(reference) => Some(vec![reference.clone()]),
            Self::AsItIs | Self::Gone(_) => None,
        }
    }
}

fn reference(name: &str, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    }
}

/// Whether all wanted owners exist, and no reference to a former object of the same name.
pub(super) fn has_all(live: Option<&[OwnerReference]>, wanted: Option<&[OwnerReference]>) -> bool {
    let (live, wanted) = (live.unwrap_or_default(), wanted.unwrap_or_default());
    wanted.iter().all(|wanted| {
        let mut same = live.iter().filter(|live| is_of_same_name(live, wanted));
        same.next().is_some_and(|live| live.uid == wanted.uid) && same.next().is_none()
    })
}

/// The references of others, and the wanted ones.
pub(super) fn merged(
    live: Option<Vec<OwnerReference>>,
    wanted: Option<Vec<OwnerReference>>,
) -> Option<Vec<OwnerReference>> {
    let Some(wanted) = wanted else {
        return live;
    };
    let mut owners = live.unwrap_or_default();
    owners.retain(|live| !wanted.iter().any(|wanted| is_of_same_name(live, wanted)));
    owners.extend(wanted);
    Some(owners)
}

fn is_of_same_name(one: &OwnerReference, other: &OwnerReference) -> bool {
    let group = |reference: &OwnerReference| {
        let group = reference.api_version.split_once('/');
        group.map(|(group, _)| group.to_owned())
    };
    one.kind == other.kind && one.name == other.name && group(one) == group(other)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn owners(owners: &[(&str, &str)]) -> Vec<OwnerReference> {
        let owners = owners.iter();
        owners
            .map(|(name, uid)| reference(name, (*uid).to_owned()))
            .collect()
    }

    #[rstest]
    #[case::there(&[("guard", "1")], true, &[("guard", "1")])]
    #[case::not_there(&[], false, &[("guard", "1")])]
    #[case::of_an_object_that_was_replaced(&[("guard", "0")], false, &[("guard", "1")])]
    #[case::twice(&[("guard", "1"), ("guard", "0")], false, &[("guard", "1")])]
    #[case::with_a_foreign_owner(&[("team", "7"), ("guard", "1")], true, &[("team", "7"), ("guard", "1")])]
    #[case::foreign_owner_only(&[("team", "7")], false, &[("team", "7"), ("guard", "1")])]
    fn owner_is_added_and_others_stay(
        #[case] live: &[(&str, &str)],
        #[case] is_complete: bool,
        #[case] expected: &[(&str, &str)],
    ) {
        let (live, wanted) = (owners(live), owners(&[("guard", "1")]));
        assert_eq!(has_all(Some(&live), Some(&wanted)), is_complete);
        assert_eq!(merged(Some(live), Some(wanted)), Some(owners(expected)));
    }

    #[test]
    fn owners_stay_as_they_are_if_none_is_wanted() {
        let live = owners(&[("guard", "0")]);
        assert!(has_all(Some(&live), None));
        assert_eq!(merged(Some(live.clone()), None), Some(live));
    }
}
