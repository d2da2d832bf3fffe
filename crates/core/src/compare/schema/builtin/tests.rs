use super::super::openapi;
use super::super::{ListKind, MergeKey, Node, ResourceScope, Shape, text};
use super::{TEXT, builtin};
use rstest::rstest;

/// The shape at a path such as `spec.template.spec.containers[].env`.
fn shape(group: &str, version: &str, kind: &str, path: &str) -> Shape<'static> {
    let root = builtin().lookup(group, version, kind).unwrap();
    path.split('.').fold(root, |at, step| {
        let field = at.field(step.trim_end_matches("[]"));
        (0..step.matches("[]").count()).fold(field, |at, _| at.item())
    })
}

fn list_kind(group: &str, version: &str, kind: &str, path: &str) -> String {
    match shape(group, version, kind, path).node() {
        Node::List { kind, .. } => match kind {
            ListKind::Keyed(keys) => join(keys),
            ListKind::Sequence(keys) => format!("in order by {}", join(keys)),
            ListKind::Variables(keys) => format!("variables by {}", join(keys)),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

fn join(keys: &[MergeKey]) -> String {
    keys.iter().map(key).collect::<Vec<_>>().join(",")
}

fn key(key: &MergeKey) -> String {
    match &key.default {
        None => key.field.to_string(),
        Some(default) => format!("{}={default}", key.field),
    }
}

#[test]
fn the_text_reads_and_prints_as_it_stands() {
    let table = text::parse(TEXT).unwrap();
    assert_eq!(text::print(&table), TEXT);
    assert!(table.kinds.len() > 80);
    assert!(TEXT.len() < 60_000, "{}", TEXT.len());
    assert_eq!(builtin().kinds.len(), table.kinds.len());
    assert!(builtin().kinds.iter().all(|entry| entry.node.is_some()));
}

const POD: &str = "spec.template.spec";

#[rstest]
#[case("containers", "name")]
#[case("initContainers", "in order by name")]
#[case("ephemeralContainers", "name")]
#[case("volumes", "name")]
#[case("imagePullSecrets", r#"name="""#)]
#[case("hostAliases", "ip")]
#[case("resourceClaims", "name")]
#[case("schedulingGates", "name")]
#[case("topologySpreadConstraints", "topologyKey,whenUnsatisfiable")]
#[case("containers[].env", "variables by name")]
#[case("containers[].ports", r#"containerPort,protocol="TCP""#)]
#[case("containers[].volumeMounts", "mountPath")]
#[case("containers[].volumeDevices", "devicePath")]
#[case("containers[].resources.claims", "name")]
#[case("initContainers[].env", "variables by name")]
#[case::pruned("tolerations", "Plain")]
#[case::pruned("readinessGates", "Plain")]
#[case::pruned("containers[].args", "Plain")]
#[case::pruned("containers[].command", "Plain")]
#[case::pruned("containers[].envFrom", "Plain")]
#[case::pruned("dnsPolicy", "Plain")]
fn lists_of_a_pod_template(#[case] list: &str, #[case] keys: &str) {
    for (group, kind) in [
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("", "ReplicationController"),
    ] {
        let path = format!("{POD}.{list}");
        assert_eq!(list_kind(group, "v1", kind, &path), keys, "{kind} {path}");
    }
    let path = format!("spec.jobTemplate.{POD}.{list}");
    assert_eq!(list_kind("batch", "v1", "CronJob", &path), keys);
    let path = format!("spec.{list}");
    assert_eq!(list_kind("", "v1", "Pod", &path), keys);
}

#[rstest]
#[case("", "v1", "Service", "spec.ports", r#"port,protocol="TCP""#)]
#[case("", "v1", "Service", "spec.externalIPs", "Plain")]
#[case("", "v1", "ServiceAccount", "secrets", "name")]
#[case::atomic_for_both_kinds_of_patch("", "v1", "ServiceAccount", "imagePullSecrets", "Atomic")]
#[case("", "v1", "ConfigMap", "metadata.finalizers", "Set")]
#[case("", "v1", "ConfigMap", "metadata.ownerReferences", "uid")]
#[case("", "v1", "ConfigMap", "metadata.managedFields", "Plain")]
#[case("apps", "v1", "StatefulSet", "spec.volumeClaimTemplates", "Atomic")]
#[case("apps", "v1", "Deployment", "status.conditions", "Plain")]
#[case(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "spec.metrics",
    "Unordered"
)]
#[case("rbac.authorization.k8s.io", "v1", "ClusterRole", "rules", "Plain")]
#[case("networking.k8s.io", "v1", "Ingress", "spec.rules", "Atomic")]
#[case("networking.k8s.io", "v1", "NetworkPolicy", "spec.ingress", "Atomic")]
#[case(
    "storage.k8s.io",
    "v1",
    "CSIDriver",
    "spec.volumeLifecycleModes",
    "Set"
)]
#[case(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "webhooks",
    "name"
)]
#[case(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "webhooks[].matchConditions",
    "name"
)]
#[case(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "spec.versions",
    "Atomic"
)]
#[case::in_a_cycle(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "spec.versions[].schema.openAPIV3Schema.properties.spec.properties.size.x-kubernetes-validations",
    "rule"
)]
#[case(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "webhooks",
    "in order by name"
)]
fn lists_of_other_kinds(
    #[case] group: &str,
    #[case] version: &str,
    #[case] kind: &str,
    #[case] path: &str,
    #[case] keys: &str,
) {
    assert_eq!(list_kind(group, version, kind, path), keys);
}

#[rstest]
#[case(
    "apps",
    "Deployment",
    "spec.template.spec.containers[].resources.limits.cpu",
    Node::Quantity
)]
#[case(
    "apps",
    "Deployment",
    "spec.template.spec.containers[].resources.limits.example%com/gpu",
    Node::Quantity
)]
#[case(
    "apps",
    "Deployment",
    "spec.template.spec.containers[].env[].valueFrom.resourceFieldRef.divisor",
    Node::Quantity
)]
#[case(
    "apps",
    "Deployment",
    "spec.template.spec.volumes[].emptyDir.sizeLimit",
    Node::Quantity
)]
#[case(
    "apps",
    "Deployment",
    "spec.template.spec.containers[].livenessProbe.httpGet.port",
    Node::Plain
)]
#[case(
    "apps",
    "Deployment",
    "spec.strategy.rollingUpdate.maxSurge",
    Node::Plain
)]
#[case(
    "apps",
    "StatefulSet",
    "spec.volumeClaimTemplates[].spec.resources.requests.storage",
    Node::Quantity
)]
#[case(
    "",
    "PersistentVolumeClaim",
    "spec.resources.requests.storage",
    Node::Quantity
)]
#[case("", "PersistentVolume", "spec.capacity.storage", Node::Quantity)]
#[case("", "LimitRange", "spec.limits[].defaultRequest.cpu", Node::Quantity)]
#[case("", "ResourceQuota", "spec.hard.pods", Node::Quantity)]
#[case("", "Secret", "data.password", Node::Bytes)]
#[case("", "Secret", "stringData.password", Node::Plain)]
#[case("", "ConfigMap", "binaryData.blob", Node::Bytes)]
#[case("", "ConfigMap", "data.text", Node::Plain)]
#[case(
    "admissionregistration.k8s.io",
    "MutatingWebhookConfiguration",
    "webhooks[].clientConfig.caBundle",
    Node::Bytes
)]
#[case("apiregistration.k8s.io", "APIService", "spec.caBundle", Node::Bytes)]
#[case(
    "apiextensions.k8s.io",
    "CustomResourceDefinition",
    "spec.conversion.webhook.clientConfig.caBundle",
    Node::Bytes
)]
#[case("storage.k8s.io", "CSIStorageCapacity", "capacity", Node::Quantity)]
fn values(#[case] group: &str, #[case] kind: &str, #[case] path: &str, #[case] node: Node) {
    assert_eq!(shape(group, "v1", kind, path).node(), &node);
}

#[rstest]
#[case("", "ConfigMap", Some(ResourceScope::Namespaced))]
#[case("", "Namespace", Some(ResourceScope::Cluster))]
#[case("", "PersistentVolume", Some(ResourceScope::Cluster))]
#[case(
    "autoscaling",
    "HorizontalPodAutoscaler",
    Some(ResourceScope::Namespaced)
)]
#[case(
    "rbac.authorization.k8s.io",
    "ClusterRole",
    Some(ResourceScope::Cluster)
)]
#[case("rbac.authorization.k8s.io", "Role", Some(ResourceScope::Namespaced))]
#[case(
    "apiextensions.k8s.io",
    "CustomResourceDefinition",
    Some(ResourceScope::Cluster)
)]
#[case::other_group("apps", "ConfigMap", None)]
#[case::a_subresource("autoscaling", "Scale", None)]
#[case::a_list("apps", "DeploymentList", None)]
#[case::only_ever_created("authentication.k8s.io", "TokenReview", None)]
#[case::custom("cert-manager.io", "Certificate", None)]
fn scopes(#[case] group: &str, #[case] kind: &str, #[case] scope: Option<ResourceScope>) {
    assert_eq!(builtin().scope(group, kind), scope);
}

#[rstest]
#[case("", true)]
#[case("apps", true)]
#[case("storage.k8s.io", true)]
#[case("app", false)]
#[case("cert-manager.io", false)]
#[case("zzz", false)]
fn groups(#[case] group: &str, #[case] known: bool) {
    assert_eq!(builtin().knows_group(group), known);
}

#[test]
fn every_group_of_the_table_is_known() {
    for name in text::parse(TEXT).unwrap().kinds.keys() {
        assert!(builtin().knows_group(&name.group), "{}", name.group);
    }
}

#[rstest]
#[case("autoscaling", "v1", true)]
#[case("autoscaling", "v2", true)]
#[case("autoscaling", "v2beta2", false)]
#[case("apps", "v1", false)]
fn a_version_is_looked_up_exactly(#[case] group: &str, #[case] version: &str, #[case] found: bool) {
    let shape = builtin().lookup(group, version, "HorizontalPodAutoscaler");
    assert_eq!(shape.is_some(), found);
}

#[rstest]
#[case("deployments", "apps", Some("Deployment"))]
#[case("statefulsets", "apps", Some("StatefulSet"))]
#[case("replicasets", "apps", Some("ReplicaSet"))]
#[case("replicationcontrollers", "", Some("ReplicationController"))]
#[case("daemonsets", "apps", None)]
#[case("deployments", "", None)]
fn scalable_resources(#[case] resource: &str, #[case] group: &str, #[case] kind: Option<&str>) {
    assert_eq!(builtin().scalable(resource, group), kind);
    if let Some(kind) = kind {
        assert_eq!(
            builtin().scope(group, kind),
            Some(ResourceScope::Namespaced)
        );
    }
}

#[test]
fn no_document_makes_an_empty_table() {
    let table = openapi::reduce([] as [&str; 0]).unwrap();
    assert!(table.kinds.is_empty() && table.types.is_empty());
}

/// What the API server calls one value, and what it does not.
#[rstest]
#[case("", "Service", "spec.selector", true)]
#[case("", "ReplicationController", "spec.selector", true)]
#[case("", "Pod", "spec.nodeSelector", true)]
#[case(
    "",
    "Pod",
    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[].labelSelector",
    true
)]
#[case("", "Pod", "spec.containers[].env[].valueFrom.secretKeyRef", true)]
#[case("", "Pod", "metadata.labels", false)]
#[case("", "Pod", "spec.containers[].resources.limits", false)]
#[case::a_field_says_otherwise_than_its_type("", "PersistentVolume", "spec.claimRef", false)]
#[case("apps", "Deployment", "spec.selector", true)]
#[case::with_all_that_is_in_it("apps", "Deployment", "spec.selector.matchLabels", true)]
#[case("apps", "Deployment", "spec.template", false)]
#[case("networking.k8s.io", "NetworkPolicy", "spec.podSelector", true)]
#[case(
    "networking.k8s.io",
    "NetworkPolicy",
    "spec.ingress[].from[].namespaceSelector",
    true
)]
#[case("policy", "PodDisruptionBudget", "spec.selector", true)]
#[case(
    "rbac.authorization.k8s.io",
    "ClusterRole",
    "aggregationRule.clusterRoleSelectors[]",
    true
)]
#[case("rbac.authorization.k8s.io", "ClusterRoleBinding", "subjects[]", true)]
#[case("rbac.authorization.k8s.io", "ClusterRoleBinding", "roleRef", true)]
#[case("autoscaling", "HorizontalPodAutoscaler", "spec.scaleTargetRef", true)]
#[case(
    "admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration",
    "webhooks[].objectSelector",
    true
)]
fn objects_that_are_one_value(
    #[case] group: &str,
    #[case] kind: &str,
    #[case] path: &str,
    #[case] expected: bool,
) {
    assert_eq!(shape(group, "v1", kind, path).is_atomic(), expected);
}
