//! The manifests of `deploy/` on a real API server. The guard of these tests runs with them.

use serde_json::{Value, json};
use testbed::{HelmVersion, Invocation, shared};

use crate::{
    charts::{CONFIG_MAP, single, widgets_crd},
    scene::{Scene, Screen, established, eventually},
    world::world,
};

fn as_guard(line: &str) -> Invocation {
    let kubectl = shared().kubectl().cmd(&world().guard_kubeconfig);
    kubectl.args(line.split_whitespace())
}

#[test]
fn the_api_server_accepts_every_manifest_and_drops_no_field() {
    world();
    let get = |line: &str| {
        let kubectl = shared().kubectl().cmd(shared().admin());
        let line = format!("get -n helm-guard -o json {line}");
        kubectl.args(line.split_whitespace()).ok().json()
    };
    let deployment = get("deployment/helm-guard");
    // Pods that violate the profile would not be created, only because of these labels.
    let labels = &get("namespace/helm-guard")["metadata"]["labels"];
    assert_eq!(
        labels["pod-security.kubernetes.io/enforce"], "restricted",
        "{labels}"
    );
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "helm-guard");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    for what in [
        "service/helm-guard",
        "poddisruptionbudget/helm-guard",
        "clusterrolebinding/helm-guard",
        "serviceaccount/emergency-ops --namespace helm-guard-break-glass",
    ] {
        get(what);
    }
}

#[test]
fn the_deployment_meets_the_restricted_pod_security_profile() {
    world();
    let kubectl = |line: &str| {
        let kubectl = shared().kubectl().cmd(shared().admin());
        kubectl.args(line.split_whitespace())
    };
    kubectl("rollout status deployment/helm-guard -n helm-guard --timeout=90s").ok();
    // The namespace does enforce the profile.
    let root = kubectl("run root --image=a -n helm-guard --dry-run=server --privileged").refused();
    assert!(root.says("violates PodSecurity"), "{}", root.stderr);
}

#[test]
fn the_service_account_reads_records_and_cannot_write_workloads() {
    for (line, allowed) in [
        ("list secrets --all-namespaces", true),
        ("watch configmaps --all-namespaces", true),
        ("get customresourcedefinitions", true),
        ("create subjectaccessreviews.authorization.k8s.io", true),
        ("create events.events.k8s.io -n default", true),
        ("update validatingwebhookconfigurations/helm-guard", true),
        ("update validatingwebhookconfigurations/other", false),
        ("delete validatingwebhookconfigurations/other", false),
        ("update secrets/helm-guard-tls -n helm-guard", true),
        ("update secrets -n default", false),
        ("delete secrets -n default", false),
        ("patch deployments.apps -n default", false),
        ("patch deployments.apps/scale -n default", false),
        ("delete pods -n default", false),
        (
            "create serviceaccounts/token -n helm-guard-break-glass",
            false,
        ),
        ("delete secrets -n helm-guard-break-glass", true),
        ("create secrets -n helm-guard-break-glass", false),
        ("get deployments.apps -n default", true),
        ("get roles.rbac.authorization.k8s.io -n default", true),
        ("get pods --subresource=exec -n default", false),
        ("get pods --subresource=log -n default", false),
        ("list pods -n default", false),
        (
            "create leases.coordination.k8s.io/helm-guard -n helm-guard",
            true,
        ),
        (
            "create leases.coordination.k8s.io/other -n helm-guard",
            false,
        ),
        ("create configmaps/helm-guard-forecast -n helm-guard", true),
        ("create configmaps/other -n helm-guard", false),
        ("create secrets/helm-guard-tls -n helm-guard", true),
        ("create secrets/other -n helm-guard", false),
        ("create validatingwebhookconfigurations/helm-guard", true),
        ("create validatingwebhookconfigurations/other", false),
        ("get nodes --subresource=proxy", false),
        ("impersonate users", false),
    ] {
        let answer = as_guard(&format!("auth can-i {line}")).run();
        assert_eq!(answer.stdout.trim() == "yes", allowed, "{line}: {answer:?}");
    }
    let list = as_guard("auth can-i --list -n default").ok();
    let kinds = [
        "deployments",
        "statefulsets",
        "daemonsets",
        "pods",
        "jobs",
        "*.*",
    ];
    let lines = list.stdout.lines();
    for line in lines.filter(|line| kinds.iter().any(|kind| line.starts_with(kind))) {
        let (_, verbs) = line.trim_end().rsplit_once('[').unwrap();
        let mut verbs = verbs.trim_end_matches(']').split_whitespace();
        assert!(
            verbs.all(|verb| ["get", "list", "watch"].contains(&verb)),
            "{line}"
        );
    }
}

/// These rights suffice for everything that the guard does: custom resources, whose list types come
/// from the CRD, and an emergency, which creates an event.
#[test]
fn the_shipped_rights_suffice_to_be_ready_and_to_guard() {
    let scene = Scene::new("rights", HelmVersion::V3);
    let ready = world().guard.admin_get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    let group = format!("{}.example.com", scene.ns);
    scene.kubectl("create -f -").stdin(widgets_crd(&group)).ok();
    established(&[&format!("widgets.{group}")]);
    let widget = format!(
        "---\napiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\nspec:\n  \
         parts: [{{name: bolt, weight: 3}}, {{name: nut, weight: 1}}]\n"
    );
    scene.install("settings", &single(&(CONFIG_MAP.to_owned() + &widget)));
    scene.settled("configmap/settings", 1);
    let red = json!({"data": {"colour": "red"}});
    scene.patch("configmap/settings", "merge", &red).denied(&[]);
    // Only the CRD says that the parts have keys.
    let parts = |weight| {
        let parts = json!([{"name": "nut", "weight": weight}, {"name": "bolt", "weight": 3}]);
        // Other tests define widgets too.
        scene.patch(
            &format!("widgets.{group}/one"),
            "merge",
            &json!({"spec": {"parts": parts}}),
        )
    };
    parts(1).quiet();
    parts(2).denied(&[".spec.parts[name=nut].weight"]);
    scene
        .oncall("patch configmap/settings --type=merge -p")
        .arg(red.to_string())
        .warned(&[]);
    eventually("an event about the emergency", || {
        let events = scene.get("events.events.k8s.io");
        let mut events = events["items"].as_array().unwrap().iter();
        events
            .any(|event| event["regarding"]["name"] == "settings")
            .then_some(())
    });
    let log = world().guard.log();
    // Denied by RBAC: a terminating namespace denies requests, too, but to everyone.
    let is_refused = |line: &&Value| line.to_string().contains("forbidden: User ");
    let mut lines = log.iter().filter(|line| line["target"] != "audit");
    assert_eq!(lines.find(is_refused), None);
}
