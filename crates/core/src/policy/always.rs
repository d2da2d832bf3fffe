//! Undeclared changes that every policy allows, because a cluster does not work without them.

use std::sync::OnceLock;

use super::{
    PathChange, RuleObject,
    control_plane::{
        APISERVER, ATTACHDETACH_CONTROLLER, CLOUD_CONTROLLER_MANAGER,
        CLOUD_CONTROLLER_MANAGER_USER, CRONJOB_CONTROLLER, DAEMON_SET_CONTROLLER,
        DEPLOYMENT_CONTROLLER, DISRUPTION_CONTROLLER, ENDPOINT_CONTROLLER,
        ENDPOINTSLICE_CONTROLLER, EXPAND_CONTROLLER, JOB_CONTROLLER, KUBE_CONTROLLER_MANAGER,
        KUBE_SCHEDULER, LEGACY_SERVICE_ACCOUNT_TOKEN_CLEANER, NODE_CONTROLLER,
        PERSISTENT_VOLUME_BINDER, PV_PROTECTION_CONTROLLER, PVC_PROTECTION_CONTROLLER,
        REPLICASET_CONTROLLER, REPLICATION_CONTROLLER, SERVICE_ACCOUNT_CONTROLLER,
        SERVICE_CONTROLLER, STATEFULSET_CONTROLLER,
    },
    identity::UserIdentity,
    pattern::Pattern,
};

/// The identities that write for the cluster itself. Exact names that no ordinary user can obtain.
/// They have no special right to declared fields.
const CONTROL_PLANE: &[&str] = &[
    APISERVER,
    KUBE_CONTROLLER_MANAGER,
    KUBE_SCHEDULER,
    CLOUD_CONTROLLER_MANAGER_USER,
    ATTACHDETACH_CONTROLLER,
    CLOUD_CONTROLLER_MANAGER,
    CRONJOB_CONTROLLER,
    DAEMON_SET_CONTROLLER,
    DEPLOYMENT_CONTROLLER,
    DISRUPTION_CONTROLLER,
    ENDPOINT_CONTROLLER,
    ENDPOINTSLICE_CONTROLLER,
    EXPAND_CONTROLLER,
    JOB_CONTROLLER,
    LEGACY_SERVICE_ACCOUNT_TOKEN_CLEANER,
    NODE_CONTROLLER,
    PERSISTENT_VOLUME_BINDER,
    PV_PROTECTION_CONTROLLER,
    PVC_PROTECTION_CONTROLLER,
    REPLICASET_CONTROLLER,
    REPLICATION_CONTROLLER,
    SERVICE_ACCOUNT_CONTROLLER,
    SERVICE_CONTROLLER,
    STATEFULSET_CONTROLLER,
];

/// Of every kind: what kubectl writes in addition to the requested change.
const ANYWHERE: &[&str] = &[
    "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
    "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
];

/// Of Services: what the API server allocates, and releases with the type.
const OF_SERVICES: &[&str] = &[
    "/spec/clusterIP",
    "/spec/clusterIPs",
    "/spec/healthCheckNodePort",
    "/spec/ipFamilies",
    "/spec/ipFamilyPolicy",
    "/spec/ports/*/nodePort",
];

struct Always {
    anywhere: Vec<Pattern>,
    of_services: Vec<Pattern>,
}

fn always() -> &'static Always {
    static ALWAYS: OnceLock<Always> = OnceLock::new();
    ALWAYS.get_or_init(|| {
        let read = |paths: &[&str]| paths.iter().flat_map(|path| Pattern::new(path)).collect();
        Always {
            anywhere: read(ANYWHERE),
            of_services: read(OF_SERVICES),
        }
    })
}

/// Whether the change is allowed.
pub(super) fn passes(
    identity: UserIdentity<'_>,
    object: &RuleObject<'_>,
    change: PathChange<'_>,
) -> bool {
    let covers = |patterns: &[Pattern]| {
        patterns
            .iter()
            .any(|pattern| object.has_at(pattern, change.path))
    };
    let is_service = (object.place.group, object.place.kind) == ("", "Service");
    CONTROL_PLANE.contains(&identity.user)
        || covers(&always().anywhere)
        || is_service && covers(&always().of_services)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_one() {
        for path in ANYWHERE.iter().chain(OF_SERVICES) {
            assert!(Pattern::new(path).is_ok(), "{path}");
        }
    }
}
