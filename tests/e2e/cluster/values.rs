//! Values that Kubernetes writes differently than the chart.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::HelmVersion;

use crate::{
    charts::{CONFIG_MAP, single, widgets_crd},
    scene::{Scene, Screen, Verdict, note},
    world::world,
};

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V3)
}

fn replace(path: &str, value: &Value) -> Value {
    json!([{"op": "replace", "path": path, "value": value}])
}

/// A Deployment as people write it: scenarios 74, 75, 77, 78 and 79.
const IN_OTHER_WORDS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {}
  creationTimestamp: null
spec:
  replicas: 1
  paused: no
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      creationTimestamp: null
      labels: {app: web}
    spec:
      hostNetwork: off
      terminationGracePeriodSeconds: 0x1E
      nodeSelector: null
      tolerations: []
      containers:
        - name: server
          image: nginx
          command: []
          resources:
            requests: {cpu: 0.5, memory: 1024Mi}
            limits: {cpu: 1000m, memory: 1.5G}
          env: &env
            - {name: A, value: '1'}
            - {name: A, value: '2'}
          volumeMounts: [{name: files, mountPath: /files}]
          securityContext: {}
        - name: second
          image: nginx
          resources: {}
          env: *env
      volumes:
        - {name: files, configMap: {name: files, defaultMode: 0644, optional: yes}}
status: {}
";

/// Scenarios 74, 75, 77 and 81.
#[test]
fn an_object_with_equivalent_values_has_no_drift() {
    let scene = scene("words");
    scene.install("web", &single(IN_OTHER_WORDS));
    scene.settled("deployment/web", 1);
    scene
        .patch("deployment/web", "merge", &note("mine"))
        .quiet();
    let container = "/spec/template/spec/containers/0";
    for (path, value) in [
        ("/resources/limits/cpu", json!("1")),
        ("/resources/limits/memory", json!("1500M")),
        ("/resources/requests/cpu", json!("500m")),
        ("/resources/requests/memory", json!("1Gi")),
    ] {
        let path = format!("{container}{path}");
        scene
            .patch("deployment/web", "json", &replace(&path, &value))
            .quiet();
    }
    for (path, value, field) in [
        (
            format!("{container}/resources/limits/cpu"),
            json!("1001m"),
            ".resources.limits.cpu",
        ),
        (
            "/spec/template/spec/volumes/0/configMap/defaultMode".to_owned(),
            json!(0o600),
            ".configMap.defaultMode: declared 420, live 420, requested 384",
        ),
        (
            "/spec/template/spec/terminationGracePeriodSeconds".to_owned(),
            json!(31),
            ".terminationGracePeriodSeconds: declared 30, live 30, requested 31",
        ),
    ] {
        scene
            .patch("deployment/web", "json", &replace(&path, &value))
            .denied(&[field]);
    }
    let paused = json!({"spec": {"paused": true}});
    scene
        .patch("deployment/web", "merge", &paused)
        .denied(&[".spec.paused: declared false, live nothing, requested true"]);
}

/// Scenario 77.
#[test]
fn an_empty_declared_value_may_gain_keys_and_keyed_items_but_no_atomic_list() {
    let scene = scene("empty");
    scene.install("web", &single(IN_OTHER_WORDS));
    scene.settled("deployment/web", 1);
    let annotation = json!({"metadata": {"annotations": {"example.com/a": "1"}}});
    scene.patch("deployment/web", "merge", &annotation).quiet();
    let limits = json!({"limits": {"cpu": "2"}});
    let path = "/spec/template/spec/containers/1/resources";
    scene
        .patch("deployment/web", "json", &replace(path, &limits))
        .quiet();
    let toleration =
        json!({"spec": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}});
    scene
        .patch("deployment/web", "merge", &toleration)
        .denied(&[".spec.template.spec.tolerations"]);
}

/// Scenario 79.
#[test]
fn either_value_of_an_env_name_declared_twice_is_allowed() {
    let scene = scene("duplicates");
    scene.install("web", &single(IN_OTHER_WORDS));
    scene.settled("deployment/web", 1);
    let env = |value: &str| {
        let items = json!([{"name": "A", "value": value}]);
        let patch = replace("/spec/template/spec/containers/0/env", &items);
        scene.patch("deployment/web", "json", &patch)
    };
    env("3").denied(&["env[name=A]"]);
    env("1").quiet();
    env("2").quiet();
}

/// Scenario 76.
#[test]
fn secret_string_data_equals_its_base64_data() {
    let scene = scene("secret-text");
    let manifest = "\
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {both: from-text, text: foo}
data:
  both: ZnJvbS1kYXRh
  raw: |
    YmFy
    YmF6
  empty:
";
    scene.install("keys", &single(manifest));
    scene.settled("secret/keys", 1);
    scene.patch("secret/keys", "merge", &note("mine")).quiet();
    let set = |key: &str, text: &str| {
        let patch = json!({"stringData": {key: text}});
        scene.patch("secret/keys", "merge", &patch)
    };
    set("both", "from-text").quiet();
    set("text", "foo").quiet();
    set("raw", "barbaz").quiet();
    set("new", "anything").quiet();
    set("both", "from-data").denied(&[".data.both"]);
    set("raw", "barqux").denied(&[".data.raw"]);
}

/// Go reads a null in a map of strings as an empty one; a server-side apply leaves it out.
#[rstest]
fn a_null_label_may_only_be_empty_or_absent(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("null-label", version);
    let manifest = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {team: null}, annotations: {example.com/a: null}}
data: {colour: blue}
";
    let chart = scene.install("nulls", &single(manifest));
    scene.settled("configmap/settings", 1);
    scene
        .patch("configmap/settings", "merge", &note("mine"))
        .quiet();
    for (field, key) in [("labels", "team"), ("annotations", "example.com/a")] {
        let set = |value: &str| {
            let patch = json!({"metadata": {field: {key: value}}});
            scene.patch("configmap/settings", "merge", &patch)
        };
        set("mine").denied(&[&format!(".metadata.{field}")]);
        set("").quiet();
    }
    let upgrade = format!("upgrade nulls {}", chart.display());
    scene.helm(&upgrade).ok();
}

/// Scenario 78.
#[test]
fn a_port_number_is_not_a_port_name_of_digits() {
    let scene = scene("ports");
    let manifest = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: 8080}
    - {name: admin, port: 81}
";
    scene.install("web", &single(manifest));
    scene.settled("service/web", 1);
    // Values filled in by the API server are not declared.
    let free = replace("/spec/ports/1/targetPort", &json!("admin"));
    scene.patch("service/web", "json", &free).quiet();
    let text = replace("/spec/ports/0/targetPort", &json!("http"));
    scene
        .patch("service/web", "json", &text)
        .denied(&["targetPort: declared 8080, live 8080, requested \"http\""]);
}

/// Scenario 80.
#[test]
fn reordered_autoscaler_metrics_are_no_drift() {
    let scene = scene("metrics");
    let manifest = "\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 4
  metrics:
    - {type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 70}}}
    - {type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: 1000m}}}
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
";
    let chart = scene.install("web", &single(manifest));
    scene.settled("horizontalpodautoscaler/web", 1);
    let hpa = "horizontalpodautoscaler/web";
    scene.patch(hpa, "merge", &note("mine")).quiet();
    let mut metrics = scene.at(hpa, "/spec/metrics");
    metrics.as_array_mut().unwrap().reverse();
    scene
        .patch(hpa, "json", &replace("/spec/metrics", &metrics))
        .quiet();
    metrics[0]["resource"]["target"]["averageUtilization"] = 99.into();
    scene
        .patch(hpa, "json", &replace("/spec/metrics", &metrics))
        .denied(&[".spec.metrics"]);
    scene.helm(&format!("upgrade web {}", chart.display())).ok();
}

/// Scenarios 82 and 83.
#[test]
fn api_server_defaults_in_atomic_lists_are_no_drift() {
    let scene = scene("defaults");
    let manifest = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db, volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - ports: [{port: 5432}]
      from: [{podSelector: {matchLabels: {app: web}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: db}
spec:
  rules:
    - host: db.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: db, port: {number: 80}}}}
";
    let chart = scene.install("db", &single(manifest));
    scene.settled("statefulset/db", 1);
    for what in ["statefulset/db", "networkpolicy/db", "ingress/db"] {
        scene.patch(what, "merge", &note("mine")).quiet();
        let live = scene.get(what);
        scene
            .kubectl("replace -f -")
            .stdin(live.to_string())
            .quiet();
    }
    let port = replace("/spec/ingress/0/ports/0/port", &json!(5433));
    scene
        .patch("networkpolicy/db", "json", &port)
        .denied(&[".spec.ingress"]);
    let backend = replace(
        "/spec/rules/0/http/paths/0/backend/service/port/number",
        &json!(81),
    );
    scene
        .patch("ingress/db", "json", &backend)
        .denied(&[".spec.rules"]);
    scene.helm(&format!("upgrade db {}", chart.display())).ok();
}

/// Scenario 84.
#[test]
fn a_config_map_near_the_size_limit_is_evaluated_and_its_denial_is_readable() {
    let scene = scene("large");
    let line = "0123456789abcdef".repeat(4);
    let text: String = format!("    {line}\n").repeat(13_000);
    let manifest = format!(
        "{CONFIG_MAP}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: large}}\ndata:\n  text: |\n{text}"
    );
    scene.install("large", &single(&manifest));
    scene.settled("configmap/settings", 1);
    scene.kubectl("annotate configmap large seen=yes").quiet();
    assert_eq!(
        scene.verdict("patch", "configmaps", "large"),
        Verdict::allowed("nothing-declared-changes")
    );
    let output = scene
        .patch(
            "configmap/large",
            "merge",
            &json!({"data": {"text": "short"}}),
        )
        .denied(&[".data.text: declared "]);
    assert!(
        output.stderr.len() < 8 * 1024,
        "{} bytes",
        output.stderr.len()
    );
}

/// Scenario 81.
#[test]
fn a_crd_with_status_nulls_and_dropped_keys_has_no_drift() {
    let scene = scene("crd");
    let group = format!("{}.example.com", scene.ns);
    let name = format!("customresourcedefinition/widgets.{group}");
    let manifest = widgets_crd(&group).replace(
        "metadata: {",
        "status: {acceptedNames: {kind: '', plural: ''}, conditions: [], storedVersions: []}
metadata: {creationTimestamp: null, ",
    ) + "  preserveUnknownFields: false\n";
    let chart = scene.install("crds", &single(&manifest));
    scene.settled(&name, 1);
    scene.patch(&name, "merge", &note("mine")).quiet();
    let mut live = scene.get(&name);
    live["metadata"]["resourceVersion"] = Value::Null;
    scene
        .kubectl("replace -f -")
        .stdin(live.to_string())
        .quiet();
    scene
        .patch(
            &name,
            "merge",
            &json!({"spec": {"names": {"singular": "gadget"}}}),
        )
        .denied(&[".spec.names.singular"]);
    scene
        .helm(&format!("upgrade crds {}", chart.display()))
        .ok();
    scene.helm("uninstall crds").ok();
}
