//! Everything that a guard does: each action needs one of its rights.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{
    Guard, GuardConfig, HelmVersion, Invocation, free_addresses, http_get,
    process::{Process, ProcessConfig},
    shared,
};

use crate::{
    charts::{CONFIG_MAP, single, widgets_crd},
    scene::{Scene, Screen, established, eventually},
};

const EMERGENCY: &str = "helm-guard-break-glass/emergency-ops";
const GROUP: &str = "rights.example.com";

pub fn admin(line: &str) -> Invocation {
    let kubectl = shared().kubectl().cmd(shared().admin());
    kubectl.args(line.split_whitespace())
}

/// Applies all of `deploy/`, with the options for sinks, records in `ConfigMaps` and a custom resource.
/// Twice, as with every update: an aggregated role causes no conflict.
pub fn install() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    admin("apply --server-side -f")
        .arg(root.join("manifests/05-crds.yaml"))
        .ok();
    established(&[
        "guardpolicies.helm-guard.dev",
        "breakglassgrants.helm-guard.dev",
        "emergencychanges.helm-guard.dev",
    ]);
    for _ in 0..2 {
        for folder in [root.clone(), root.join("break-glass")] {
            admin("apply --server-side -k").arg(folder).ok();
        }
        admin("apply --server-side -f")
            .arg(root.join("options"))
            .ok();
        for (reader, verbs) in [("live", &["get"][..]), ("scan", &["list", "watch"])] {
            let role = widget_role(reader, verbs).to_string();
            admin("apply -f -").stdin(role).ok();
            eventually("a role that is filled in", || {
                let line = format!("get clusterrole helm-guard-{reader} -o json");
                let role = admin(&line).ok().json();
                role["rules"].to_string().contains(GROUP).then_some(())
            });
        }
    }
}

/// Reads widgets as `helm-guard-live` does, or as `helm-guard-scan` does.
fn widget_role(reader: &str, verbs: &[&str]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {
            "name": format!("widgets-{reader}"),
            "labels": {format!("helm-guard.dev/aggregate-to-{reader}"): "true"},
        },
        "rules": [{"apiGroups": [GROUP], "resources": ["widgets"], "verbs": verbs}],
    })
}

fn account() -> PathBuf {
    shared()
        .service_account("helm-guard", "helm-guard")
        .unwrap()
}

/// As its Deployment runs it: the certificate in a Secret, the registration by Service. Nothing routes to
/// that Service here, so no review arrives.
pub fn behind_a_service() {
    let [listen, probes] = free_addresses().unwrap();
    let mut args: Vec<OsString> = ["serve", "--listen", &listen, "--admin-listen", &probes]
        .into_iter()
        .chain([
            "--register-service",
            "helm-guard/helm-guard",
            "--owner-cluster-role",
            "helm-guard",
            "--mode",
            "Audit",
        ])
        .chain(["--unregister-on-exit", "--drain-delay", "1ms"])
        .map(OsString::from)
        .collect();
    args.extend(["--kubeconfig".into(), account().into()]);
    let mut guard = Process::start(ProcessConfig {
        name: "guard-behind-a-service",
        program: Path::new(env!("CARGO_BIN_EXE_helm-guard")),
        args,
        env: Vec::new(),
        dir: shared().scratch(),
    })
    .unwrap();
    eventually("a guard that is ready", || {
        let answer = http_get(&format!("http://{probes}/readyz")).ok()?;
        (answer.status == 200).then_some(())
    });
    // A Secret without its certificate is repaired.
    let version = |text: &Value| text["metadata"]["resourceVersion"].clone();
    let secret = || {
        admin("get secret helm-guard-tls -n helm-guard -o json")
            .ok()
            .json()
    };
    admin("patch secret helm-guard-tls -n helm-guard --type=merge -p")
        .arg(r#"{"data":{"ca.crt":""}}"#)
        .ok();
    let edited = secret();
    eventually("a Secret that is repaired", || {
        (version(&secret()) != version(&edited)).then_some(())
    });
    // So is an edited registration.
    let edit = r#"[{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":1}]"#;
    let configuration = "validatingwebhookconfiguration helm-guard";
    admin(&format!("patch {configuration} --type=json -p"))
        .arg(edit)
        .ok();
    eventually("a registration that is repaired", || {
        let live = admin(&format!("get {configuration} -o json")).ok().json();
        (live["webhooks"][0]["timeoutSeconds"] == 3).then_some(())
    });
    guard.signal("TERM");
    let status = guard
        .wait(Duration::from_secs(60))
        .expect("it exits by itself");
    assert_eq!(status.code(), Some(0), "{}", guard.tail());
}

pub fn policy(mode: &str) {
    let policy = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
        "metadata": {"name": "default"},
        "spec": {
            "mode": mode,
            "breakGlass": {
                "identities": [{"subjects": {"serviceAccounts": [EMERGENCY]}}],
                "serviceAccount": EMERGENCY,
            },
            "alerts": {"sinks": [{
                "name": "chat", "type": "slack",
                "urlFrom": {"name": "helm-guard-alerts", "key": "url"},
            }]},
        },
    });
    admin("apply --server-side --force-conflicts -f -")
        .stdin(policy.to_string())
        .ok();
    eventually("a policy that is in force", || {
        let live = admin("get guardpolicy default -o json").ok().json();
        let is_read = live["status"]["observedGeneration"] == live["metadata"]["generation"];
        is_read.then_some(())
    });
}

pub fn guard(account: &Path) -> Guard {
    let config = GuardConfig::new(Path::new(env!("CARGO_BIN_EXE_helm-guard")), account, "Deny")
        .args(["--guard-namespace", "helm-guard"])
        .args(["--storage-drivers", "secrets,configmaps"])
        .args(["--scan-interval", "1h"])
        .args(["--drain-delay", "1ms", "--log-format", "json"]);
    Guard::start(shared(), config).unwrap_or_else(|error| panic!("{error}"))
}

/// Reviews of every kind, and their consequences.
pub fn on_duty() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "helm-guard-alerts", "namespace": "helm-guard"},
        // Nothing listens there: only reading the Secret matters.
        "stringData": {"url": "https://127.0.0.1:1/"},
    });
    admin("apply -f -").stdin(secret.to_string()).ok();
    admin("create -f -").stdin(widgets_crd(GROUP)).ok();
    established(&[&format!("widgets.{GROUP}")]);
    let guard = guard(&account());
    policy("Deny");
    let scene = Scene::new("rights", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    scene.kubectl("delete configmap/settings").denied(&[]);
    scene
        .kubectl("delete secret/sh.helm.release.v1.settings.v1")
        .denied(&[]);
    recorded_in_config_maps();
    asks_who_may_write_records(&scene);
    looks_at_owners(&scene);
    scans(&guard);
    emergencies(&scene);
    misses_its_policy();
    guard.stop();
}

/// The guard confirms that a policy is gone before it stops applying it.
fn misses_its_policy() {
    admin("delete guardpolicy default").ok();
    eventually("a look for the policy", || {
        let requests = crate::rights::requests();
        let mut looks = requests
            .iter()
            .filter(|request| request.is_of("guardpolicies") && request.verb == "get");
        looks.next().map(drop)
    });
}

fn recorded_in_config_maps() {
    let scene = Scene::new("in-config-maps", HelmVersion::V4);
    let manifest = CONFIG_MAP.replace("settings", "others");
    let chart = shared().chart(&single(&manifest));
    scene
        .helm(&format!("install others {}", chart.display()))
        .env("HELM_DRIVER", "configmap")
        .ok();
    scene.settled("configmap/others", 1);
}

/// Somebody imitates Helm while an operation is pending.
fn asks_who_may_write_records(scene: &Scene) {
    let chart = single(&CONFIG_MAP.replace("settings", "pending"));
    scene.install("pending", &chart);
    scene.settled("configmap/pending", 1);
    let secret = scene.rewritten_record("pending", 1, |body| {
        body["info"]["status"] = "pending-upgrade".into();
    });
    // As cluster-admin, with the guard running: Helm sets this status, too.
    emergency(scene, "replace -f -").stdin(secret).ok();
    eventually("a question for the rights of the writer", || {
        let patch = scene.kubectl("patch configmap/pending --field-manager=helm --type=merge -p");
        let _ = patch
            .arg(r#"{"data":{"colour":"red"}}"#)
            .arg("--dry-run=server")
            .run();
        let asked = crate::rights::requests()
            .iter()
            .any(|request| request.is_of("subjectaccessreviews"));
        asked.then_some(())
    });
}

/// A record in another namespace claims an object: the live object decides who owns it.
fn looks_at_owners(scene: &Scene) {
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 1\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    \
         spec: {{containers: [{{name: web, image: 'nginx:1'}}]}}\n---\napiVersion: {GROUP}/v1\nkind: Widget\n\
         metadata: {{name: web}}\nspec: {{size: 1}}\n"
    );
    scene.install("web", &single(&manifest));
    scene.settled("deployment/web", 1);
    scene.settled("widget/web", 1);
}

/// The leader lists what is declared, and can read all of it. Its watches are in the audit log when they end.
fn scans(guard: &Guard) {
    eventually("a scan of all that is declared", || {
        let requests = crate::rights::requests();
        let is_listed = |kind: &&str| {
            let mut lists = requests.iter().filter(|request| request.verb == "list");
            lists.any(|request| request.is_of(kind))
        };
        crate::DECLARED.iter().all(is_listed).then_some(())
    });
    eventually("a scan without errors", || {
        let metrics = guard.admin_get("/metrics").body;
        metrics
            .contains("\nhelm_drift_scan_errors 0\n")
            .then_some(())
    });
}

pub fn emergency(scene: &Scene, line: &str) -> Invocation {
    let (namespace, name) = EMERGENCY.split_once('/').unwrap();
    let kubeconfig = shared().service_account(namespace, name).unwrap();
    shared()
        .grant_cluster_admin(&format!("system:serviceaccount:{namespace}:{name}"))
        .unwrap();
    scene.kubectl_as(&kubeconfig, line)
}

/// Emergency changes, a repeated one for the count of its event, a grant that ends, and their resolution.
fn emergencies(scene: &Scene) {
    for colour in ["red", "green"] {
        emergency(scene, "patch configmap/settings --type=merge -p")
            .arg(json!({"data": {"colour": colour}}).to_string())
            .warned(&["recorded as"]);
    }
    emergency(scene, "scale deployment/web --replicas=2").warned(&["recorded as"]);
    emergency(scene, "scale widget/web --replicas=2").warned(&["recorded as"]);
    let (namespace, _) = EMERGENCY.split_once('/').unwrap();
    let end = Timestamp::now() + SignedDuration::from_secs(3);
    let grant = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
        "metadata": {"name": "rights"},
        "spec": {
            "subjects": {"serviceAccounts": [EMERGENCY]}, "reason": "an incident", "ticket": "INC-1",
            "requestedBy": "testbed-admin", "expiresAt": end.to_string(),
        },
    });
    admin("create -f -").stdin(grant.to_string()).ok();
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": "rights", "namespace": namespace,
            "labels": {"helm-guard.dev/grant": "rights"},
        },
    });
    admin("create -f -").stdin(token.to_string()).ok();
    eventually("the end of a token", || {
        let line = format!("get secret rights -n {namespace} -o name --ignore-not-found");
        admin(&line).ok().stdout.is_empty().then_some(())
    });
    eventually("changes that were looked at", || {
        let list = scene.get("emergencychanges");
        let changes = list["items"].as_array().unwrap();
        let is_followed = |change: &Value| change["status"]["state"] != Value::Null;
        (changes.len() >= 4 && changes.iter().all(is_followed)).then_some(())
    });
}
