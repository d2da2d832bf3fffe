//! Story 7: the autoscaler and friends. What Kubernetes itself does is allowed without a message.

use std::{path::PathBuf, sync::Once};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use crate::{
    charts::{myapp, single, widgets_crd},
    scene::{Scene, Screen, Verdict, eventually, note, verdict},
    world::{log_about, world},
};

const KUBE_SYSTEM: &str = "system:serviceaccount:kube-system:";

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

fn assert_no_noise(scene: &Scene) {
    assert_eq!(log_about(scene.ns.name()), Vec::<Value>::new());
}

/// Scenario 62.
#[test]
fn the_horizontal_pod_autoscaler_may_scale_declared_replicas() {
    let scene = scene("hpa");
    // More than the current number, so the autoscaler needs no metrics to decide.
    let chart = myapp("1.0.0").template("hpa.yaml", AUTOSCALER);
    scene.install("myapp", &chart);
    eventually("five replicas, by the autoscaler", || {
        (scene.at("deployment/myapp", "/spec/replicas") == 5).then_some(())
    });
    let user = format!("{KUBE_SYSTEM}horizontal-pod-autoscaler");
    let object = ("deployments/scale", scene.ns.name(), "myapp");
    assert_eq!(
        verdict(&user, "update", object),
        Verdict::exempt("horizontal-pod-autoscaler")
    );
    assert_no_noise(&scene);
    scene.settled("deployment/myapp", 1);
    scene
        .kubectl("scale --replicas=6 deployment/myapp")
        .denied(&["declared 3, live 5, requested 6"]);
}

const AUTOSCALER: &str = "\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: '{{ .Release.Name }}'}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: '{{ .Release.Name }}'}
  minReplicas: 5
  maxReplicas: 8
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
";

fn certificate_authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["hooks.example.com".to_owned()]).unwrap();
    BASE64_STANDARD.encode(params.self_signed(&key).unwrap().pem())
}

/// A cert-manager account in its usual namespace.
fn cert_manager(account: &str) -> PathBuf {
    static NAMESPACE: Once = Once::new();
    NAMESPACE.call_once(|| {
        let kubectl = shared().kubectl().cmd(shared().admin());
        kubectl.args(["create", "namespace", "cert-manager"]).ok();
    });
    let user = format!("system:serviceaccount:cert-manager:{account}");
    shared().grant_cluster_admin(&user).unwrap();
    shared().service_account("cert-manager", account).unwrap()
}

/// If the chart asks for it by an annotation.
#[test]
fn cert_manager_may_only_add_its_challenge_to_an_ingress() {
    let scene = scene("acme");
    let manifest = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations: {acme.cert-manager.io/http01-edit-in-place: 'true'}
spec:
  rules:
    - host: shop.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}
";
    scene.install("shop", &single(manifest));
    scene.settled("ingress/shop", 1);
    let account = cert_manager("cert-manager");
    let paths = "/spec/rules/0/http/paths";
    let route = |path: &str, service: &str| {
        let service = json!({"name": service, "port": {"number": 8089}});
        json!({"path": path, "pathType": "ImplementationSpecific", "backend": {"service": service}})
    };
    let challenge = route(
        "/.well-known/acme-challenge/token",
        "cm-acme-http-solver-7tq2x",
    );
    let open = json!([{"op": "add", "path": format!("{paths}/0"), "value": challenge}]);
    let close = json!([{"op": "remove", "path": format!("{paths}/0")}]);
    let admin_route = route("/admin", "admin");
    let another = json!([{"op": "add", "path": format!("{paths}/0"), "value": admin_route}]);
    let backend = |at: usize| {
        let path = format!("{paths}/{at}/backend/service/name");
        json!([{"op": "replace", "path": path, "value": "evil"}])
    };
    let by_cert_manager = |patch: &Value| {
        let line = "patch ingress/shop --type=json -p";
        scene.kubectl_as(&account, line).arg(patch.to_string())
    };
    let by_bob = |patch: &Value| scene.patch("ingress/shop", "json", patch);

    by_bob(&open).denied(&[".spec.rules[0].http.paths"]);
    by_cert_manager(&another).denied(&[".spec.rules[0].http.paths"]);
    by_cert_manager(&backend(0)).denied(&["backend.service.name"]);
    by_cert_manager(&open).quiet();
    by_bob(&backend(1)).denied(&[".spec.rules[0].http.paths"]);
    by_cert_manager(&backend(1)).denied(&[".spec.rules[0].http.paths"]);
    by_cert_manager(&close).quiet();
    // Anyone may restore the declared value.
    by_cert_manager(&open).quiet();
    by_bob(&close).quiet();
}

/// Scenario 64.
#[test]
fn only_the_ca_injector_may_write_a_declared_ca_bundle() {
    let scene = scene("ca-injector");
    let group = format!("{}.example.com", scene.ns);
    let crd = format!("customresourcedefinition/widgets.{group}");
    let asks = "annotations: {cert-manager.io/inject-ca-from: pki/ca}";
    let manifest = widgets_crd(&group).replacen("metadata: {", &format!("metadata: {{{asks}, "), 1)
        + &format!(
            "  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {{url: 'https://hooks.example.com', caBundle: {}}}
",
            certificate_authority()
        );
    scene.install("widgets", &single(&manifest));
    scene.settled(&crd, 1);
    let injected = certificate_authority();
    let bundle = json!({"spec": {"conversion": {"webhook": {"clientConfig": {
        "caBundle": injected,
    }}}}});
    scene
        .patch(&crd, "merge", &bundle)
        .denied(&[".spec.conversion.webhook.clientConfig.caBundle"]);

    let injector = cert_manager("cert-manager-cainjector");
    scene
        .kubectl_as(&injector, &format!("patch {crd} --type=merge -p"))
        .arg(bundle.to_string())
        .quiet();
    let path = "/spec/conversion/webhook/clientConfig/caBundle";
    assert_eq!(scene.at(&crd, path), injected);
    scene.helm("uninstall widgets").ok();
}

/// Scenario 65.
#[test]
fn the_aggregation_controller_fills_a_cluster_role() {
    let scene = scene("aggregation");
    let name = scene.ns.name();
    let manifest = AGGREGATED.replace("NAME", name);
    scene.install("roles", &single(&manifest));
    let role = format!("clusterrole/{name}-sum");
    eventually("rules of both parts", || {
        let rules = scene.at(&role, "/rules");
        (rules.as_array().map(Vec::len) == Some(1)).then_some(())
    });
    scene
        .kubectl(&format!(
            "create clusterrole {name}-more --verb=get --resource=configmaps"
        ))
        .ok();
    scene
        .kubectl(&format!("label clusterrole {name}-more sum-of={name}"))
        .ok();
    eventually("rules of the part that came later", || {
        let rules = scene.at(&role, "/rules");
        (rules.as_array().map(Vec::len) == Some(2)).then_some(())
    });
    scene.settled(&role, 1);
    scene
        .patch(
            &role,
            "merge",
            &json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"sum-of": "all"}}]}}),
        )
        .denied(&[".aggregationRule.clusterRoleSelectors"]);
    scene
        .kubectl(&format!("delete clusterrole {name}-more"))
        .quiet();
    scene.helm("uninstall roles").ok();
}

const AGGREGATED: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME-sum}
aggregationRule:
  clusterRoleSelectors: [{matchLabels: {sum-of: NAME}}]
rules:
  - {apiGroups: [''], resources: [secrets], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: NAME-part
  labels: {sum-of: NAME}
rules:
  - {apiGroups: [''], resources: [pods], verbs: [get]}
";

/// Scenario 70.
#[test]
fn the_garbage_collector_deletes_a_declared_dependent_of_a_deleted_owner() {
    let scene = scene("garbage");
    scene.kubectl("create configmap owner").ok();
    let uid = scene.at("configmap/owner", "/metadata/uid");
    let manifest = format!(
        "apiVersion: v1
kind: ConfigMap
metadata:
  name: dependent
  ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}]
"
    );
    scene.install("owned", &single(&manifest));
    scene.settled("configmap/dependent", 1);
    scene.kubectl("delete configmap dependent").denied(&[]);
    scene.kubectl("delete configmap owner").quiet();
    eventually("a dependent that is gone", || {
        (!scene.holds("configmap/dependent")).then_some(())
    });
    let user = format!("{KUBE_SYSTEM}generic-garbage-collector");
    let object = ("configmaps", scene.ns.name(), "dependent");
    assert_eq!(
        verdict(&user, "delete", object),
        Verdict::exempt("garbage-collector")
    );
}

/// Scenario 70.
#[test]
fn a_foreground_uninstall_completes() {
    let scene = scene("foreground");
    scene.install("myapp", &myapp("1.0.0"));
    scene
        .helm("uninstall myapp --cascade foreground --wait --timeout=200s")
        .ok();
    assert!(!scene.holds("deployment,replicaset,pod,service"));
}

/// Scenario 69.
#[test]
fn deleting_a_namespace_with_releases_completes() {
    let scene = scene("terminating");
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    let ns = scene.ns.name();
    // As an emergency change; otherwise, its releases must be uninstalled first.
    scene
        .oncall(&format!("delete namespace {ns} --timeout=90s"))
        .warned(&["Namespace", "holds Helm releases"]);
}

/// Scenario 68.
#[test]
fn a_declared_job_is_deleted_when_its_ttl_expires() {
    let scene = scene("ttl");
    let manifest = "\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  ttlSecondsAfterFinished: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: migrate}]
";
    scene.install("jobs", &single(manifest));
    eventually("a Job that is gone", || {
        (!scene.holds("job/migrate")).then_some(())
    });
    let user = format!("{KUBE_SYSTEM}ttl-after-finished-controller");
    let object = ("jobs", scene.ns.name(), "migrate");
    assert_eq!(
        verdict(&user, "delete", object),
        Verdict::exempt("ttl-after-finished")
    );
    assert_no_noise(&scene);
}

/// Scenario 55, first part.
#[test]
fn a_rollout_restart_is_allowed_and_completes() {
    let scene = scene("restart");
    scene.install("myapp", &myapp("1.0.0"));
    scene.kubectl("rollout restart deployment/myapp").quiet();
    scene
        .kubectl("rollout status deployment/myapp --timeout=90s")
        .quiet();
    assert_no_noise(&scene);
}

/// Scenario 63.
#[test]
fn a_declared_claim_is_bound_to_a_volume() {
    let scene = scene("claim");
    let manifest = "\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
";
    let chart = single(manifest).template("deployment.yaml", MOUNTS_DATA);
    scene.install("stateful", &chart);
    eventually("a bound claim", || {
        (scene.at("pvc/data", "/status/phase") == "Bound").then_some(())
    });
    assert_no_noise(&scene);
    scene.helm("uninstall stateful --wait --timeout=90s").ok();
}

const MOUNTS_DATA: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: stateful}
spec:
  selector: {matchLabels: {app: stateful}}
  template:
    metadata: {labels: {app: stateful}}
    spec:
      containers:
        - {name: server, image: nginx, volumeMounts: [{name: data, mountPath: /data}]}
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
";

/// Scenario 66.
#[test]
fn a_reloader_may_add_and_change_its_own_env_item() {
    let scene = scene("reloader");
    scene.install("myapp", &myapp("1.0.0"));
    for hash in ["a1", "b2"] {
        let env = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "server", "env": [{"name": "STAKATER_MYAPP_CONFIGMAP", "value": hash}]},
        ]}}}});
        scene.patch("deployment/myapp", "strategic", &env).quiet();
    }
}

/// Scenario 67: a Service's selector is one value, so the key that Argo Rollouts adds to it needs the preset
/// (crates/core/src/guard/judge/tests/selectors.rs). An existing key blocks no other change.
#[test]
fn an_undeclared_key_cannot_be_added_to_a_declared_selector() {
    let scene = scene("selector");
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("service/myapp", 1);
    let hash = |value: &str| json!({"spec": {"selector": {"rollouts-pod-template-hash": value}}});
    scene
        .patch("service/myapp", "merge", &hash("789746c88d"))
        .denied(&[".spec.selector"]);
    scene.drift("service/myapp", "merge", &hash("789746c88d"));
    scene.patch("service/myapp", "merge", &note("mine")).quiet();
    scene
        .patch(
            "service/myapp",
            "merge",
            &json!({"spec": {"selector": {"app": "other"}}}),
        )
        .denied(&[".spec.selector.app"]);
    let without = json!({"spec": {"selector": {"rollouts-pod-template-hash": null}}});
    scene.patch("service/myapp", "merge", &without).quiet();
}

/// Scenario 71.
#[test]
fn anyone_may_correct_drift_toward_the_manifest() {
    let scene = scene("correction");
    scene.install("myapp", &myapp("1.0.0"));
    scene.drift(
        "configmap/myapp",
        "merge",
        &json!({"data": {"colour": "red"}}),
    );
    let correction = json!([{"op": "replace", "path": "/data/colour", "value": "blue"}]);
    scene
        .patch("configmap/myapp", "json", &correction)
        .arg("--field-manager=helm-controller")
        .quiet();
    assert_eq!(scene.at("configmap/myapp", "/data/colour"), "blue");
    let declared = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: myapp}
data: {colour: blue}
";
    scene
        .kubectl("apply --server-side --force-conflicts --dry-run=server --field-manager=helm-controller -f -")
        .stdin(declared)
        .quiet();
}

/// Scenario 72.
#[test]
fn a_declared_token_secret_gets_its_token() {
    let scene = scene("token");
    let manifest = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: v1
kind: Secret
metadata:
  name: robot-token
  annotations: {kubernetes.io/service-account.name: robot}
type: kubernetes.io/service-account-token
";
    scene.install("robot", &single(manifest));
    eventually("a token in the Secret", || {
        scene
            .at("secret/robot-token", "/data/token")
            .is_string()
            .then_some(())
    });
    assert_no_noise(&scene);
}
