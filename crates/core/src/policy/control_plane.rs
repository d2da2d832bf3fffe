//! The user names of the control plane, each once: exact names that no ordinary user can obtain.
//!
//! A controller has its own ServiceAccount if the controller manager runs with
//! `--use-service-account-credentials`. Otherwise it has the name of the controller manager.

macro_rules! controllers {
    ($($constant:ident = $name:literal;)*) => {
        $(
            #[doc = concat!("The controller `", $name, "`.")]
            pub const $constant: &str = concat!("system:serviceaccount:kube-system:", $name);
        )*
    };
}

/// The API server itself.
pub(crate) const APISERVER: &str = "system:apiserver";
/// Every controller without its own account.
pub const KUBE_CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
/// The account that binds pods to nodes.
pub const KUBE_SCHEDULER: &str = "system:kube-scheduler";
/// Every cloud controller without its own account.
pub(crate) const CLOUD_CONTROLLER_MANAGER_USER: &str = "system:cloud-controller-manager";

controllers! {
    ATTACHDETACH_CONTROLLER = "attachdetach-controller";
    CLOUD_CONTROLLER_MANAGER = "cloud-controller-manager";
    CLUSTERROLE_AGGREGATION_CONTROLLER = "clusterrole-aggregation-controller";
    CRONJOB_CONTROLLER = "cronjob-controller";
    DAEMON_SET_CONTROLLER = "daemon-set-controller";
    DEPLOYMENT_CONTROLLER = "deployment-controller";
    DISRUPTION_CONTROLLER = "disruption-controller";
    ENDPOINT_CONTROLLER = "endpoint-controller";
    ENDPOINTSLICE_CONTROLLER = "endpointslice-controller";
    ENDPOINTSLICEMIRRORING_CONTROLLER = "endpointslicemirroring-controller";
    EXPAND_CONTROLLER = "expand-controller";
    GENERIC_GARBAGE_COLLECTOR = "generic-garbage-collector";
    HORIZONTAL_POD_AUTOSCALER = "horizontal-pod-autoscaler";
    JOB_CONTROLLER = "job-controller";
    LEGACY_SERVICE_ACCOUNT_TOKEN_CLEANER = "legacy-service-account-token-cleaner";
    NAMESPACE_CONTROLLER = "namespace-controller";
    NODE_CONTROLLER = "node-controller";
    PERSISTENT_VOLUME_BINDER = "persistent-volume-binder";
    POD_GARBAGE_COLLECTOR = "pod-garbage-collector";
    PV_PROTECTION_CONTROLLER = "pv-protection-controller";
    PVC_PROTECTION_CONTROLLER = "pvc-protection-controller";
    REPLICASET_CONTROLLER = "replicaset-controller";
    REPLICATION_CONTROLLER = "replication-controller";
    SERVICE_ACCOUNT_CONTROLLER = "service-account-controller";
    SERVICE_CONTROLLER = "service-controller";
    STATEFULSET_CONTROLLER = "statefulset-controller";
    TAINT_EVICTION_CONTROLLER = "taint-eviction-controller";
    TTL_AFTER_FINISHED_CONTROLLER = "ttl-after-finished-controller";
}
