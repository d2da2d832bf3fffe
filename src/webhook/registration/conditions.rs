//! Match conditions: what the API server looks at before it calls.
//!
//! Invariant: no condition can fail. With `failurePolicy: Ignore` the API server skips a webhook whose
//! condition fails, without a word; so each field is asked for with `has` before it is read, and each
//! object is compared with null (`object` is null on DELETE, `oldObject` on CREATE).

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::MANAGED_BY;

/// Helm writes both; each alone says that an object belongs to a release
/// (`pkg/action/validate.go`).
const OWNER_ANNOTATIONS: [&str; 2] = [
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];

/// What a status write can change of an object that a release declares.
const METADATA: [&str; 4] = ["labels", "annotations", "ownerReferences", "finalizers"];

/// Subresources whose requests are seen whatever they change.
const WHOLE: &str = "['resize', 'ephemeralcontainers']";

/// A Binding that sets more on its Pod than the topology labels, which the API server adds to each
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

/// An object that lost Helm's label and still names its release. The entry for objects with the label
/// sees all others, so that nothing is called twice.
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

/// A subresource write that reaches more than the status.
pub(super) fn reaches_declared_fields() -> MatchCondition {
    let changes = METADATA.map(|field| {
        format!(
            "has(object.metadata.{field}) != has(oldObject.metadata.{field}) || \
             has(object.metadata.{field}) && has(oldObject.metadata.{field}) && \
             object.metadata.{field} != oldObject.metadata.{field}"
        )
    });
    condition(
        "changes-more-than-status",
        format!(
            "request.subResource in {WHOLE} || object != null && oldObject != null && \
             has(object.metadata) && has(oldObject.metadata) && ({})",
            changes.join(" || ")
        ),
    )
}

/// The deployment controller counts rollouts in an annotation, which it writes with the status. Charts
/// made from live objects declare that annotation, and the controller must not be refused for it: it
/// writes nothing else there.
pub(super) fn not_a_rollouts_revision() -> MatchCondition {
    condition(
        "not-a-rollouts-revision",
        "!(request.resource.group == 'apps' && request.resource.resource == 'deployments' && \
         request.userInfo.username in ['system:kube-controller-manager', \
         'system:serviceaccount:kube-system:deployment-controller'])"
            .to_owned(),
    )
}

/// Charts put the managed-by label into pod templates, and controllers copy it, with a Service's
/// labels too, onto what they make from them; Deployments hand their annotations on to
/// `ReplicaSets`. Those objects are in no manifest, and there are many of them. A request is kept away when a
/// controller of the control plane (by its exact name) or a kubelet (by its group; both are names that
/// no client can give itself) writes to a kind that it makes itself. The same kinds written by anyone
/// else are seen: a chart may declare a bare Pod. So is a controller that takes over what it did not make
/// ([`takes_over`]).
///
/// Leases are renewed every few seconds by whoever holds them: their updates are kept away, their
/// deletion is not.
pub(super) fn copied_marks() -> [MatchCondition; 2] {
    let controllers = COPYING_CONTROLLERS
        .map(|name| format!("'{name}'"))
        .join(", ");
    [
        condition(
            "not-a-controllers-own-copies",
            format!(
                "!((request.resource.group == '' && request.resource.resource in ['pods', 'endpoints'] \
             || request.resource.group == 'apps' && request.resource.resource in ['replicasets', \
             'controllerrevisions'] || request.resource.group == 'discovery.k8s.io') && \
             (request.userInfo.username in [{controllers}] || \
             has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups) && !{takes})",
                takes = takes_over(),
            ),
        ),
        condition(
            "not-leases-and-events",
            "!(request.operation == 'UPDATE' && request.resource.group == 'coordination.k8s.io' || \
             request.resource.group == 'events.k8s.io' || \
             request.resource.group == '' && request.resource.resource == 'events')"
                .to_owned(),
        ),
    ]
}

/// A controller takes over what it did not make: a bare Pod that its selector matches, the Endpoints of
/// a Service that got a selector. Helm's annotation tells such an object from a copy, which has Helm's
/// label alone or an owner; to take that annotation off is judged.
fn takes_over() -> String {
    format!(
        "((request.operation == 'UPDATE' || request.resource.resource == 'endpoints') && {} && \
         !has(oldObject.metadata.ownerReferences))",
        has_owner("oldObject")
    )
}

/// As the controller manager calls itself with and without `--use-service-account-credentials`,
/// and the scheduler, which preempts pods.
const COPYING_CONTROLLERS: [&str; 16] = [
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:serviceaccount:kube-system:daemon-set-controller",
    "system:serviceaccount:kube-system:deployment-controller",
    "system:serviceaccount:kube-system:endpoint-controller",
    "system:serviceaccount:kube-system:endpointslice-controller",
    "system:serviceaccount:kube-system:endpointslicemirroring-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:job-controller",
    "system:serviceaccount:kube-system:node-controller",
    "system:serviceaccount:kube-system:pod-garbage-collector",
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:serviceaccount:kube-system:replication-controller",
    "system:serviceaccount:kube-system:statefulset-controller",
    "system:serviceaccount:kube-system:taint-eviction-controller",
    "system:serviceaccount:kube-system:ttl-after-finished-controller",
];
