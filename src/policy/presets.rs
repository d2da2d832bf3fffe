//! The writers that a cluster cannot do without, and what exactly each of them may change.
//!
//! A preset names identity *and* kind *and* path. Identities are exact names, never prefixes, and
//! none is a name that an ordinary user could mint: those under `kube-system` belong to the control
//! plane. Each preset can be switched off. Many legitimate writers need no entry here, because
//! they change only what no chart declares.

use crate::compare::path::{FieldPath, Step};

/// What a preset lets its identities do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Delete objects of the kinds.
    Delete,
    /// Change these paths, and everything below them.
    Change(&'static [&'static [&'static str]]),
    /// Change the replicas of anything through its scale subresource.
    Scale,
}

/// The kinds that a preset is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Every kind.
    All,
    /// These, as (group, kind).
    Only(&'static [(&'static str, &'static str)]),
}

/// A named exemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name in policies, audit annotations and metrics.
    pub name: &'static str,
    /// Exact user names.
    pub users: &'static [&'static str],
    /// The kinds it is about.
    pub kinds: Kinds,
    /// What it allows.
    pub grants: &'static [Grant],
}

/// The user of every controller when kube-controller-manager runs without
/// `--use-service-account-credentials`.
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

/// The presets that are on unless a policy turns them off.
pub const DEFAULT: &[Preset] = &[
    Preset {
        name: "horizontal-pod-autoscaler",
        users: &[
            "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
            CONTROLLER_MANAGER,
        ],
        kinds: Kinds::All,
        grants: &[Grant::Scale],
    },
    Preset {
        name: "namespace-controller",
        users: &[
            "system:serviceaccount:kube-system:namespace-controller",
            CONTROLLER_MANAGER,
        ],
        kinds: Kinds::All,
        grants: &[Grant::Delete],
    },
    Preset {
        name: "garbage-collector",
        users: &[
            "system:serviceaccount:kube-system:generic-garbage-collector",
            CONTROLLER_MANAGER,
        ],
        kinds: Kinds::All,
        grants: &[
            Grant::Delete,
            Grant::Change(&[
                &["metadata", "finalizers"],
                &["metadata", "ownerReferences"],
            ]),
        ],
    },
    Preset {
        name: "ttl-after-finished",
        users: &[
            "system:serviceaccount:kube-system:ttl-after-finished-controller",
            CONTROLLER_MANAGER,
        ],
        kinds: Kinds::Only(&[("batch", "Job")]),
        grants: &[Grant::Delete],
    },
    Preset {
        name: "clusterrole-aggregation",
        users: &[
            "system:serviceaccount:kube-system:clusterrole-aggregation-controller",
            CONTROLLER_MANAGER,
        ],
        kinds: Kinds::Only(&[("rbac.authorization.k8s.io", "ClusterRole")]),
        grants: &[Grant::Change(&[&["rules"]])],
    },
    Preset {
        name: "ca-bundle",
        // The ServiceAccount of cert-manager's own manifests and of its chart's default release.
        users: &["system:serviceaccount:cert-manager:cert-manager-cainjector"],
        kinds: Kinds::Only(&[
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("apiregistration.k8s.io", "APIService"),
        ]),
        grants: &[Grant::Change(&[
            &["spec", "caBundle"],
            &["spec", "conversion", "webhook", "clientConfig", "caBundle"],
        ])],
    },
];

impl Preset {
    fn concerns(&self, user: &str, group: &str, kind: &str) -> bool {
        self.users.contains(&user)
            && match self.kinds {
                Kinds::All => true,
                Kinds::Only(kinds) => kinds.contains(&(group, kind)),
            }
    }

    fn allows(&self, act: Act<'_>) -> bool {
        self.grants.iter().any(|grant| match (grant, act) {
            (Grant::Delete, Act::Delete) | (Grant::Scale, Act::Scale) => true,
            (Grant::Change(paths), Act::Change(path)) => {
                paths.iter().any(|allowed| is_at_or_below(path, allowed))
            }
            _ => false,
        })
    }
}

fn is_at_or_below(path: &FieldPath, allowed: &[&str]) -> bool {
    path.steps().len() >= allowed.len()
        && path
            .steps()
            .iter()
            .zip(allowed)
            .all(|(step, allowed)| matches!(step, Step::Field(name) if name == allowed))
}

/// What somebody does to an object.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// Delete it.
    Delete,
    /// Change its replicas through the scale subresource.
    Scale,
    /// Change a path of it.
    Change(&'a FieldPath),
}

/// The presets in force.
#[derive(Clone, Debug)]
pub struct Presets(Vec<Preset>);

impl Default for Presets {
    fn default() -> Self {
        Self(DEFAULT.to_vec())
    }
}

impl Presets {
    /// Exactly these.
    pub fn of(presets: Vec<Preset>) -> Self {
        Self(presets)
    }

    /// The name of the preset that lets `user` do this to an object of this kind.
    pub fn covering(
        &self,
        user: &str,
        (group, kind): (&str, &str),
        act: Act<'_>,
    ) -> Option<&'static str> {
        self.0
            .iter()
            .find(|preset| preset.concerns(user, group, kind) && preset.allows(act))
            .map(|preset| preset.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RBAC: &str = "rbac.authorization.k8s.io";
    const AGGREGATION: &str =
        "system:serviceaccount:kube-system:clusterrole-aggregation-controller";
    const HPA: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

    #[test]
    fn a_preset_is_bound_to_user_kind_and_path() {
        let presets = Presets::default();
        let (rules, spec) = (FieldPath::of(["rules"]), FieldPath::of(["aggregationRule"]));
        let deployment = ("apps", "Deployment");
        let cases = [
            (HPA, deployment, Act::Scale, true),
            (
                HPA,
                deployment,
                Act::Change(&FieldPath::of(["spec", "replicas"])),
                false,
            ),
            (HPA, deployment, Act::Delete, false),
            ("alice", deployment, Act::Scale, false),
            (
                AGGREGATION,
                (RBAC, "ClusterRole"),
                Act::Change(&rules),
                true,
            ),
            (
                AGGREGATION,
                (RBAC, "ClusterRole"),
                Act::Change(&spec),
                false,
            ),
            (AGGREGATION, (RBAC, "Role"), Act::Change(&rules), false),
        ];
        for (user, kind, act, allowed) in cases {
            let name = presets.covering(user, kind, act);
            assert_eq!(name.is_some(), allowed, "{user} {kind:?} {act:?}");
        }
    }

    #[test]
    fn a_name_that_only_begins_like_an_exempt_one_is_not_exempt() {
        for user in [
            "system:serviceaccount:kube-system-mine:horizontal-pod-autoscaler",
            "system:serviceaccount:kube-system:horizontal-pod-autoscaler2",
        ] {
            let name = Presets::default().covering(user, ("apps", "Deployment"), Act::Scale);
            assert_eq!(name, None, "{user}");
        }
    }
}
