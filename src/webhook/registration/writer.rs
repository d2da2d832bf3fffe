//! Which replica may change the registration, and how much of it.
//!
//! Only the leader, which holds the Lease `helm-guard`, corrects the registration. The other replicas create it
//! if it is missing, and add their own CA if the API server would distrust them. So different versions of the
//! guard do not overwrite each other during a rollout.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration as Configuration;
use semver::Version;

/// The annotation with the version of the guard that wrote the registration.
pub(crate) const WRITTEN_BY: &str = "helm-guard.dev/written-by-version";

/// The version of this guard.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How much of the registration this guard may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mandate {
    /// All of it, even if a newer guard wrote it: a rollback that has lasted is intended.
    Everything,
    /// All of it, unless a newer guard wrote it: an older leader does not undo that during a rollout.
    #[default]
    UnlessNewer,
    /// Only missing parts, because another replica is the leader.
    WhatIsMissing,
}

impl Mandate {
    /// Why differences stay, if they do.
    pub(super) fn objection(self, live: &Configuration) -> Option<String> {
        match self {
            Self::Everything => None,
            Self::UnlessNewer => newer_writer(live).map(|version| {
                format!("version {version} of the guard wrote it, this is {VERSION}")
            }),
            Self::WhatIsMissing => Some("another replica is the leader".to_owned()),
        }
    }
}

/// The version that wrote it, if it is newer. A version that cannot be parsed does not count: it is not from a
/// guard.
fn newer_writer(live: &Configuration) -> Option<Version> {
    let written = live.metadata.annotations.as_ref()?.get(WRITTEN_BY)?;
    let written: Version = written.parse().ok()?;
    let own: Version = VERSION.parse().ok()?;
    (written > own).then_some(written)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::api::ObjectMeta;
    use rstest::rstest;

    use super::*;

    fn written_by(version: Option<&str>) -> Configuration {
        let annotations =
            version.map(|version| BTreeMap::from([(WRITTEN_BY.to_owned(), version.to_owned())]));
        Configuration {
            metadata: ObjectMeta {
                annotations,
                ..ObjectMeta::default()
            },
            webhooks: None,
        }
    }

    #[rstest]
    #[case::the_same_version(Mandate::UnlessNewer, Some(VERSION), false)]
    #[case::an_older_version(Mandate::UnlessNewer, Some("0.0.9"), false)]
    #[case::a_prerelease_of_this_version(Mandate::UnlessNewer, Some("0.1.0-rc.1"), false)]
    #[case::a_newer_version(Mandate::UnlessNewer, Some("99.0.0"), true)]
    #[case::no_version(Mandate::UnlessNewer, None, false)]
    #[case::not_a_version(Mandate::UnlessNewer, Some("latest"), false)]
    #[case::a_rollback_that_lasts(Mandate::Everything, Some("99.0.0"), false)]
    #[case::a_follower(Mandate::WhatIsMissing, Some(VERSION), true)]
    fn what_a_guard_leaves_alone(
        #[case] mandate: Mandate,
        #[case] version: Option<&str>,
        #[case] stays: bool,
    ) {
        assert_eq!(mandate.objection(&written_by(version)).is_some(), stays);
    }
}
