//! A release whose records claim something that is not one of its objects: that a namespace or a
//! CRD is needed, or that an autoscaler is declared.
//!
//! The rule is that of [`super::reach`]: records speak for their own namespace. Elsewhere, the ownership
//! annotations of a live object must name the release. Here, that object is one that the release declares
//! in the claimed place: a [`Witness`].
//!
//! Start at [`Claimant::is_named_by`].

use std::sync::Arc;

use super::reach::Reach;
use crate::helm::{ReleaseName, identity::DeclaredObject};

/// Whether the policy trusts the release records of a namespace.
pub type Trusts<'a> = &'a (dyn Fn(&str) -> bool + Send + Sync);

/// The most witnesses of one claimant: each costs a request.
pub const WITNESSES: usize = 3;

/// A release with a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The release that depends on the object.
    pub release: Arc<ReleaseName>,
    /// How the place of its records relates to what is claimed.
    pub reach: Reach,
    /// If the release is [`Reach::Elsewhere`]: objects that may name it, at most [`WITNESSES`].
    pub witnesses: Vec<Witness>,
}

/// A declared object whose live annotations name its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Group and version, as in a manifest.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What is known of a witness, the live object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It names this release, or none. A missing object names none.
    Names(Option<ReleaseName>),
    /// The guard has no right to read such objects.
    Forbidden,
}

impl Claimant {
    /// Whether the claim counts without a witness.
    pub fn counts(&self) -> bool {
        matches!(self.reach, Reach::Named | Reach::Own | Reach::Trusted)
    }

    /// Whether a witness names this release.
    pub fn is_named_by(&self, sighting: &Sighting) -> bool {
        matches!(sighting, Sighting::Names(Some(owner)) if *owner == *self.release)
    }
}

impl Witness {
    /// The object as a manifest declares it, in this namespace.
    pub fn of(object: &DeclaredObject, namespace: &str) -> Self {
        let (group, version) = (&object.group, &object.version);
        Self {
            api_version: match &**group {
                "" => version.clone(),
                group => format!("{group}/{version}"),
            },
            kind: object.kind.clone(),
            namespace: namespace.to_owned(),
            name: object.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn claimant(reach: Reach) -> Claimant {
        Claimant {
            release: Arc::new(release("web")),
            reach,
            witnesses: Vec::new(),
        }
    }

    fn release(name: &str) -> ReleaseName {
        ReleaseName {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[rstest]
    #[case(Reach::Named, true)]
    #[case(Reach::Own, true)]
    #[case(Reach::Trusted, true)]
    #[case(Reach::Elsewhere, false)]
    #[case(Reach::Copy, false)]
    fn a_claim_from_elsewhere_needs_a_witness(#[case] reach: Reach, #[case] counts: bool) {
        assert_eq!(claimant(reach).counts(), counts);
    }

    #[rstest]
    #[case::its_own(Sighting::Names(Some(release("web"))), true)]
    #[case::another(Sighting::Names(Some(release("api"))), false)]
    #[case::none(Sighting::Names(None), false)]
    #[case::forbidden(Sighting::Forbidden, false)]
    fn a_witness_names_the_release_itself(#[case] sighting: Sighting, #[case] named: bool) {
        assert_eq!(claimant(Reach::Elsewhere).is_named_by(&sighting), named);
    }
}
