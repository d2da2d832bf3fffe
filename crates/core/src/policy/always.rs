//! What passes although no release declares it, however strict a policy is: a cluster does not work
//! without.

use std::sync::OnceLock;

use super::{Change, Object, identity::UserIdentity, pattern::Pattern};

/// Who writes for the cluster itself what it needs. Exact names, none of which an ordinary user could
/// mint; to declared fields they have no more right than anyone.
const CONTROL_PLANE: &[&str] = &[
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:cloud-controller-manager",
    "system:serviceaccount:kube-system:attachdetach-controller",
    "system:serviceaccount:kube-system:cloud-controller-manager",
    "system:serviceaccount:kube-system:cronjob-controller",
    "system:serviceaccount:kube-system:daemon-set-controller",
    "system:serviceaccount:kube-system:deployment-controller",
    "system:serviceaccount:kube-system:disruption-controller",
    "system:serviceaccount:kube-system:endpoint-controller",
    "system:serviceaccount:kube-system:endpointslice-controller",
    "system:serviceaccount:kube-system:expand-controller",
    "system:serviceaccount:kube-system:job-controller",
    "system:serviceaccount:kube-system:legacy-service-account-token-cleaner",
    "system:serviceaccount:kube-system:node-controller",
    "system:serviceaccount:kube-system:persistent-volume-binder",
    "system:serviceaccount:kube-system:pv-protection-controller",
    "system:serviceaccount:kube-system:pvc-protection-controller",
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:serviceaccount:kube-system:replication-controller",
    "system:serviceaccount:kube-system:service-account-controller",
    "system:serviceaccount:kube-system:service-controller",
    "system:serviceaccount:kube-system:statefulset-controller",
];

/// Of every kind: what kubectl writes beside what it is asked for.
const ANYWHERE: &[&str] = &[
    "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
    "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
];

/// Of Services: what the API server allocates, and takes back with the type.
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

/// Whether it passes.
pub(super) fn passes(identity: UserIdentity<'_>, object: &Object<'_>, change: Change<'_>) -> bool {
    let covers = |patterns: &[Pattern]| {
        patterns
            .iter()
            .any(|pattern| pattern.covers(change.path, object.manifest))
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
