//! Match conditions, which the API server evaluates before it calls the guard.
//!
//! Invariant: the evaluation of a condition cannot fail. With `failurePolicy: Ignore` the API server silently
//! skips a webhook whose condition fails. So `has` precedes each access to a field, and each object is compared
//! with null (`object` is null on DELETE, `oldObject` on CREATE).

use helm_guard_core::policy::control_plane::{
    DAEMON_SET_CONTROLLER, DEPLOYMENT_CONTROLLER, ENDPOINT_CONTROLLER, ENDPOINTSLICE_CONTROLLER,
    ENDPOINTSLICEMIRRORING_CONTROLLER, GENERIC_GARBAGE_COLLECTOR, JOB_CONTROLLER,
    KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, NODE_CONTROLLER, POD_GARBAGE_COLLECTOR,
    REPLICASET_CONTROLLER, REPLICATION_CONTROLLER, STATEFULSET_CONTROLLER,
    TAINT_EVICTION_CONTROLLER, TTL_AFTER_FINISHED_CONTROLLER,
};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::webhook::marks::MANAGED_BY;

/// Helm writes both; each alone says that an object belongs to a release
/// (`pkg/action/validate.go`).
const OWNER_ANNOTATIONS: [&str; 2] = [
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];

/// What a status write can change of an object that a release declares.
const METADATA: [&str; 4] = ["labels", "annotations", "ownerReferences", "finalizers"];

/// Subresources whose requests the guard always sees.
const WHOLE: &str = "['resize', 'ephemeralcontainers']";

/// A Binding that sets more on its Pod than the topology labels, which the API server adds to each one
/// (admission plugin `PodTopologyLabels`).
pub(super) fn sets_metadata() -> MatchCondition {
    condition(
        "sets-labels-or-annotations",
        "object != null && has(object.metadata) && (has(object.metadata.annotations) || \
         has(object.metadata.labels) && object.metadata.labels.exists(key, \
         !key.startsWith('topology.kubernetes.io/')))"
            .to_owned(),
    )
}

pub(super) fn condition(name: &str, expression: String) -> MatchCondition {
    MatchCondition {
        name: name.to_owned(),
        expression,
    }
}

/// Whether `object`, a variable, has Helm's label.
fn has_label(object: &str) -> String {
    format!(
        "({object} != null && has({object}.metadata) && has({object}.metadata.labels) && \
         '{MANAGED_BY}' in {object}.metadata.labels && \
         {object}.metadata.labels['{MANAGED_BY}'] == 'Helm')"
    )
}

/// Whether `object`, a variable, has an annotation that names its release.
fn has_owner(object: &str) -> String {
    let [name, namespace] = OWNER_ANNOTATIONS;
    format!(
        "({object} != null && has({object}.metadata) && has({object}.metadata.annotations) && \
         ('{name}' in {object}.metadata.annotations || \
         '{namespace}' in {object}.metadata.annotations))"
    )
}

/// An object without Helm's label that still names its release. The entry for objects with the label sees
/// all others, so that the guard is not called twice.
pub(super) fn only_annotated() -> MatchCondition {
    let [old, new] = ["oldObject", "object"].map(has_label);
    condition(
        "names-its-release-without-helms-label",
        format!("{} && !{old} && !{new}", has_owner("oldObject")),
    )
}

/// An object with either mark.
pub(super) fn marked() -> MatchCondition {
    let marks = [
        has_label("oldObject"),
        has_label("object"),
        has_owner("oldObject"),
    ];
    condition("is-marked-as-helms", marks.join(" || "))
}

/// Whether an update changes more of the metadata than the API server does itself. Both objects have
/// metadata.
fn changes_metadata() -> String {
    let changes = METADATA.map(|field| {
        format!(
            "has(object.metadata.{field}) != has(oldObject.metadata.{field}) || \
             has(object.metadata.{field}) && has(oldObject.metadata.{field}) && \
             object.metadata.{field} != oldObject.metadata.{field}"
        )
    });
    changes.join(" || ")
}

/// A subresource write that reaches more than the status.
pub(super) fn reaches_declared_fields() -> MatchCondition {
    let changes = changes_metadata();
    condition(
        "changes-more-than-status",
        format!(
            "request.subResource in {WHOLE} || object != null && oldObject != null && \
             has(object.metadata) && has(oldObject.metadata) && ({changes})"
        ),
    )
}

/// The deployment controller counts rollouts in an annotation, which it writes with the status. Charts that
/// were made from live objects declare that annotation. The controller must not be denied because of it, and
/// it writes no other metadata there.
pub(super) fn not_a_rollouts_revision() -> MatchCondition {
    condition(
        "not-a-rollouts-revision",
        format!(
            "!(request.resource.group == 'apps' && request.resource.resource == 'deployments' && \
             request.userInfo.username in ['{KUBE_CONTROLLER_MANAGER}', '{DEPLOYMENT_CONTROLLER}'])"
        ),
    )
}

/// Excludes writes of controllers to copies of marked objects. Charts put the managed-by label into pod
/// templates, and controllers copy it to the objects that they create, as well as labels of Services;
/// Deployments pass their annotations on to `ReplicaSets`. These many objects are in no manifest. A request is
/// excluded if a controller of the control plane (by its exact name) writes to a *copy*: an object that already
/// has a controller among its owners, or endpoints that name no release. The user alone is not enough: a
/// `ReplicaSet` adopts and deletes a declared Pod whose labels it selects, and the endpoint controllers act on
/// any object that a Service or a label points to.
///
/// The health of a node, on the other hand, does not depend on objects of users: writes of kubelets (by their
/// group), the scheduler and the node controllers to Pods are all excluded.
///
/// Leases are renewed every few seconds: their updates are excluded if the marks stay, their deletion is not.
pub(super) fn copied_marks() -> [MatchCondition; 2] {
    let list = |names: &[&str]| {
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        quoted.join(", ")
    };
    let (copying, of_nodes) = (list(&COPYING_CONTROLLERS), list(&NODE_CONTROLLERS));
    let (names_release, changes) = (has_owner("oldObject"), changes_metadata());
    [
        condition(
            "not-a-controllers-own-copies",
            format!(
                "!(request.resource.group == '' && request.resource.resource == 'pods' && \
                 (request.userInfo.username in [{of_nodes}] || \
                 has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups) || \
                 request.userInfo.username in [{copying}] && oldObject != null && \
                 has(oldObject.metadata) && \
                 ((request.resource.group == '' && request.resource.resource == 'pods' || \
                 request.resource.group == 'apps' && request.resource.resource in ['replicasets', \
                 'controllerrevisions']) && has(oldObject.metadata.ownerReferences) && \
                 oldObject.metadata.ownerReferences.exists(owner, has(owner.controller) && \
                 owner.controller) || \
                 (request.resource.group == '' && request.resource.resource == 'endpoints' || \
                 request.resource.group == 'discovery.k8s.io') && !{names_release}))"
            ),
        ),
        condition(
            "not-leases-and-events",
            format!(
                "!(request.operation == 'UPDATE' && request.resource.group == 'coordination.k8s.io' && \
                 object != null && oldObject != null && has(object.metadata) && \
                 has(oldObject.metadata) && !({changes}) || \
                 request.resource.group == 'events.k8s.io' || \
                 request.resource.group == '' && request.resource.resource == 'events')"
            ),
        ),
    ]
}

/// The user names of the controller manager, with and without `--use-service-account-credentials`.
const COPYING_CONTROLLERS: [&str; 12] = [
    KUBE_CONTROLLER_MANAGER,
    DAEMON_SET_CONTROLLER,
    DEPLOYMENT_CONTROLLER,
    ENDPOINT_CONTROLLER,
    ENDPOINTSLICE_CONTROLLER,
    ENDPOINTSLICEMIRRORING_CONTROLLER,
    GENERIC_GARBAGE_COLLECTOR,
    JOB_CONTROLLER,
    REPLICASET_CONTROLLER,
    REPLICATION_CONTROLLER,
    STATEFULSET_CONTROLLER,
    TTL_AFTER_FINISHED_CONTROLLER,
];

/// The controllers that delete Pods because of their node, and the scheduler, which preempts them.
const NODE_CONTROLLERS: [&str; 4] = [
    KUBE_SCHEDULER,
    NODE_CONTROLLER,
    POD_GARBAGE_COLLECTOR,
    TAINT_EVICTION_CONTROLLER,
];
