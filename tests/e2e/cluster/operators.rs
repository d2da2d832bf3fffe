//! Operators that read a custom resource into a Go struct, set a finalizer and write all of it: then
//! declared zero values of fields with `omitempty` are missing, and durations and quantities are
//! formatted as by Go.
//!
//! The CRDs are those of the projects; the written specs are what their Go types print.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use crate::{
    charts::single,
    scene::{Scene, Screen, eventually},
    world::world,
};

/// An operator, and one of its resources.
struct Operator {
    crd: &'static str,
    /// The resource name for kubectl.
    resource: &'static str,
    api_version: &'static str,
    kind: &'static str,
    /// The `spec` of the chart, YAML.
    declared: &'static str,
    /// The `spec` that the operator writes, JSON.
    written: &'static str,
    /// A change that must be denied: the path, the new value as JSON or a removal, and the field that the
    /// denial names.
    changes: &'static [(&'static str, Option<&'static str>, &'static str)],
}

/// `ensureFinalizer` of KEDA's controller updates the whole `ScaledObject`.
const KEDA: Operator = Operator {
    crd: include_str!("crds/keda-scaledobjects.yaml"),
    resource: "scaledobject.keda.sh/one",
    api_version: "keda.sh/v1alpha1",
    kind: "ScaledObject",
    declared: "{
        scaleTargetRef: {name: web, kind: '', envSourceContainerName: ''},
        minReplicaCount: 0, maxReplicaCount: 10,
        advanced: {restoreToOriginalReplicaCount: false, horizontalPodAutoscalerConfig: {name: ''}},
        triggers: [{type: cron, name: '', useCachedMetrics: false,
            metadata: {timezone: UTC, start: 0 6 * * *, end: 0 20 * * *, desiredReplicas: '3'}}]}",
    written: r#"{"scaleTargetRef": {"name": "web"}, "minReplicaCount": 0, "maxReplicaCount": 10,
        "advanced": {"horizontalPodAutoscalerConfig": {}}, "triggers": [{"type": "cron",
        "metadata": {"timezone": "UTC", "start": "0 6 * * *", "end": "0 20 * * *",
        "desiredReplicas": "3"}}]}"#,
    changes: &[
        (
            "/spec/advanced/restoreToOriginalReplicaCount",
            Some("true"),
            ".spec.advanced.restoreToOriginalReplicaCount",
        ),
        ("/spec/minReplicaCount", Some("1"), ".spec.minReplicaCount"),
        ("/spec/maxReplicaCount", None, ".spec.maxReplicaCount"),
        (
            "/spec/triggers/0/useCachedMetrics",
            Some("true"),
            ".spec.triggers[0].useCachedMetrics",
        ),
        (
            "/spec/triggers/0/metadata/desiredReplicas",
            Some(r#""30""#),
            ".spec.triggers[0].metadata.desiredReplicas",
        ),
        (
            "/spec/scaleTargetRef/kind",
            Some(r#""StatefulSet""#),
            ".spec.scaleTargetRef.kind",
        ),
    ],
};

const CERT_MANAGER: Operator = Operator {
    crd: include_str!("crds/cert-manager-certificates.yaml"),
    resource: "certificate.cert-manager.io/one",
    api_version: "cert-manager.io/v1",
    kind: "Certificate",
    declared: "{
        secretName: web-tls, commonName: '', dnsNames: [web.example.com], ipAddresses: [], usages: [],
        duration: 90m, renewBefore: 1800s, isCA: false,
        privateKey: {algorithm: RSA, size: 0, rotationPolicy: Always},
        issuerRef: {name: ca, kind: Issuer, group: ''},
        secretTemplate: {annotations: {}, labels: {}}}",
    written: r#"{"secretName": "web-tls", "dnsNames": ["web.example.com"], "duration": "1h30m0s",
        "renewBefore": "30m0s", "privateKey": {"algorithm": "RSA", "rotationPolicy": "Always"},
        "issuerRef": {"name": "ca", "kind": "Issuer"}, "secretTemplate": {}}"#,
    changes: &[
        ("/spec/duration", Some(r#""1h31m0s""#), ".spec.duration"),
        ("/spec/renewBefore", None, ".spec.renewBefore"),
        ("/spec/isCA", Some("true"), ".spec.isCA"),
        ("/spec/privateKey/size", Some("4096"), ".spec.privateKey.size"),
        ("/spec/issuerRef/group", Some(r#""example.com""#), ".spec.issuerRef.group"),
        ("/spec/usages", Some(r#"["signing"]"#), ".spec.usages"),
    ],
};

const PROMETHEUS: Operator = Operator {
    crd: include_str!("crds/prometheus-operator-prometheuses.yaml"),
    resource: "prometheus.monitoring.coreos.com/one",
    api_version: "monitoring.coreos.com/v1",
    kind: "Prometheus",
    declared: "{
        paused: false, listenLocal: false, replicas: 2, retention: '', externalUrl: '',
        scrapeInterval: 90m, nodeSelector: {}, tolerations: [], enableFeatures: [], ruleSelector: {},
        serviceMonitorSelector: {matchLabels: {team: a}},
        resources: {requests: {cpu: '0.5', memory: 1024Mi}, limits: {cpu: 1000m, memory: 2048Mi}},
        storage: {volumeClaimTemplate: {spec: {
            accessModes: [ReadWriteOnce], resources: {requests: {storage: 0.5Ti}}}}}}",
    written: r#"{"replicas": 2, "scrapeInterval": "90m", "evaluationInterval": "30s", "ruleSelector": {},
        "serviceMonitorSelector": {"matchLabels": {"team": "a"}},
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1",
        "memory": "2Gi"}}, "storage": {"volumeClaimTemplate": {"metadata": {},
        "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "512Gi"}}}}}}"#,
    changes: &[
        ("/spec/paused", Some("true"), ".spec.paused"),
        ("/spec/replicas", Some("1"), ".spec.replicas"),
        ("/spec/scrapeInterval", Some(r#""91m""#), ".spec.scrapeInterval"),
        ("/spec/tolerations", Some(r#"[{"operator": "Exists"}]"#), ".spec.tolerations"),
        // No selector selects no rule; an empty one selects every rule.
        ("/spec/ruleSelector", None, ".spec.ruleSelector"),
        ("/spec/ruleSelector", Some(r#"{"matchLabels": {"a": "b"}}"#), ".spec.ruleSelector"),
        (
            "/spec/resources/limits/memory",
            Some(r#""3Gi""#),
            ".spec.resources.limits.memory",
        ),
        (
            "/spec/storage/volumeClaimTemplate/spec/resources/requests/storage",
            Some(r#""513Gi""#),
            ".spec.storage.volumeClaimTemplate.spec.resources.requests.storage",
        ),
    ],
};

/// Its CRD declares no fields, and preserves unknown ones.
const UNKNOWN: Operator = Operator {
    crd: "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: engines.typed.example.com}
spec:
  group: typed.example.com
  scope: Namespaced
  names: {kind: Engine, plural: engines, singular: engine, listKind: EngineList}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}
",
    resource: "engine.typed.example.com/one",
    api_version: "typed.example.com/v1",
    kind: "Engine",
    declared: "{
        interval: 90m, cpu: 1000m, memory: 0.5, enabled: false, version: '1.10',
        parts: [{name: bolt, weight: 0}], inner: {list: [], text: '', nodeSelector: {}}}",
    written: r#"{"interval": "1h30m0s", "cpu": "1", "memory": "500m", "version": "1.10",
        "parts": [{"name": "bolt"}], "inner": {}}"#,
    changes: &[
        ("/spec/interval", Some(r#""1h31m0s""#), ".spec.interval"),
        ("/spec/cpu", Some(r#""2""#), ".spec.cpu"),
        ("/spec/memory", Some(r#""501m""#), ".spec.memory"),
        ("/spec/enabled", Some("true"), ".spec.enabled"),
        ("/spec/version", Some(r#""1.1""#), ".spec.version"),
        ("/spec/parts/0/weight", Some("1"), ".spec.parts[0].weight"),
        ("/spec/inner/list", Some(r#"["a"]"#), ".spec.inner.list"),
    ],
};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[rstest]
#[case::keda("keda", &KEDA)]
#[case::cert_manager("cert-manager", &CERT_MANAGER)]
#[case::prometheus("prometheus", &PROMETHEUS)]
#[case::unknown_fields("unknown", &UNKNOWN)]
fn an_operator_that_rewrites_its_resource_through_a_struct_is_allowed(
    #[case] stem: &str,
    #[case] operator: &Operator,
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new(&format!("typed-{stem}"), version);
    let admin = shared().admin();
    scene
        .kubectl_as(admin, "apply --server-side --force-conflicts -f -")
        .stdin(operator.crd)
        .ok();
    let manifest = format!(
        "apiVersion: {}\nkind: {}\nmetadata: {{name: one}}\nspec: {}\n",
        operator.api_version, operator.kind, operator.declared
    );
    eventually("an API server that serves the kind", || {
        let create = scene.kubectl("create --dry-run=server -f -");
        let output = create.stdin(manifest.as_str()).run();
        output.status.success().then_some(())
    });
    let chart = scene.install("typed", &single(&manifest));
    scene.settled(operator.resource, 1);

    let account = shared()
        .service_account(scene.ns.name(), "operator")
        .unwrap();
    let user = format!("system:serviceaccount:{}:operator", scene.ns);
    shared().grant_cluster_admin(&user).unwrap();
    let write = || {
        let mut live = scene.get(operator.resource);
        live["metadata"]["finalizers"] = json!(["example.com/operator"]);
        live["spec"] = json(operator.written);
        let replace = scene.kubectl_as(&account, "replace -f -");
        replace.stdin(live.to_string()).quiet();
        let stored = scene.at(operator.resource, "/spec");
        assert_eq!(stored, json(operator.written));
    };
    let change_it = || {
        for (path, value, field) in operator.changes {
            let change = match value {
                Some(value) => json!([{"op": "add", "path": path, "value": json(value)}]),
                None => json!([{"op": "remove", "path": path}]),
            };
            let patch = format!("patch {} --type=json -p", operator.resource);
            let patch = scene.kubectl_as(&account, &patch).arg(change.to_string());
            patch.denied(&[field]);
        }
    };
    write();
    change_it();
    // Helm restores its own format, and the operator its own.
    let force = match version {
        HelmVersion::V3 => "",
        HelmVersion::V4 => "--force-conflicts",
    };
    let upgrade = format!("upgrade typed {} {force}", chart.display());
    scene.helm(&upgrade).ok();
    scene.settled(operator.resource, 2);
    write();
    change_it();
    scene.helm("uninstall typed").ok();
    let done = json!({"metadata": {"finalizers": null}}).to_string();
    let patch = format!("patch {} --type=merge -p", operator.resource);
    scene.kubectl_as(&account, &patch).arg(done).quiet();
}
