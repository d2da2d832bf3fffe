//! A night on call: a guard under a policy, and the people.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Guard, GuardConfig, HelmVersion, Invocation, shared};

pub use crate::deployed::EMERGENCY_OPS;
use crate::{
    charts::myapp,
    deployed::{BREAK_GLASS, install},
    scene::{Scene, within},
    turn::Turn,
};

pub const ACCOUNT: &str = "helm-guard-break-glass/emergency-ops";
pub const OSCAR: &str = "oscar@example.com";
pub const ANNA: &str = "anna@example.com";

/// The users and their roles of deploy/.
pub struct People {
    /// Emergency operator.
    pub oscar: PathBuf,
    /// Approver.
    pub anna: PathBuf,
    /// Viewer.
    pub vera: PathBuf,
    /// The emergency account.
    pub emergency: PathBuf,
    /// The guard itself.
    pub guard: PathBuf,
}

pub fn people() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let plane = shared();
        install();
        let with = |name: &str, role: &str| {
            let binding = name.split('@').next().unwrap();
            admin(&format!(
                "create clusterrolebinding {binding} --clusterrole={role} --user={name}"
            ))
            .ok();
            plane.user(name, &[]).unwrap()
        };
        let oscar = with(OSCAR, "helm-guard-emergency-operator");
        admin(&format!(
            "-n {BREAK_GLASS} create rolebinding oscar --role=emergency-ops-token --user={OSCAR}"
        ))
        .ok();
        People {
            oscar,
            anna: with(ANNA, "helm-guard-approver"),
            vera: with("vera@example.com", "helm-guard-viewer"),
            emergency: plane.service_account(BREAK_GLASS, "emergency-ops").unwrap(),
            guard: by_name(&plane.service_account("helm-guard", "helm-guard").unwrap()),
        }
    })
}

/// A kubeconfig with the name of the API server instead of its address, for [`config`].
fn by_name(kubeconfig: &Path) -> PathBuf {
    let text = fs::read_to_string(kubeconfig).unwrap();
    let named = kubeconfig.with_extension("by-name");
    fs::write(
        &named,
        text.replace("https://127.0.0.1:", "https://localhost:"),
    )
    .unwrap();
    named
}

pub fn admin(line: &str) -> Invocation {
    let kubectl = shared().kubectl().cmd(shared().admin());
    kubectl.args(line.split_whitespace())
}

/// A guard under a policy, and a release.
pub struct Night {
    pub guard: Guard,
    pub scene: Scene,
    policy: PathBuf,
    turn: Turn,
}

impl Night {
    /// `rules` are the fields of `spec.breakGlass` other than the identity, which is the emergency account.
    pub fn new(stem: &str, rules: &Value) -> Self {
        Self::with_alerts(stem, rules, &json!({}))
    }

    /// The same with `spec.alerts`.
    pub fn with_alerts(stem: &str, rules: &Value, alerts: &Value) -> Self {
        let turn = Turn::take();
        people();
        let scene = Scene::new(stem, HelmVersion::V4);
        scene.install("myapp", &myapp("1.0.0"));
        let mut rules = rules.clone();
        rules["identities"] = json!([{"subjects": {"serviceAccounts": [ACCOUNT]}}]);
        let policy = json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
            "metadata": {"name": "default"}, "spec": {"mode": "Deny", "breakGlass": rules, "alerts": alerts},
        });
        let file = shared().scratch().join(format!("{stem}-policy.json"));
        fs::write(&file, policy.to_string()).unwrap();
        let guard = turn.start(config(&file));
        let night = Self {
            guard,
            scene,
            policy: file,
            turn,
        };
        night.scene.settled("deployment/myapp", 1);
        night
    }

    /// Replaces the guard's process.
    pub fn restart(self) -> Self {
        self.restart_after(|_| ())
    }

    /// The same, with something in between that no guard sees.
    pub fn restart_after(self, unseen: impl FnOnce(&Scene)) -> Self {
        self.guard.stop();
        unseen(&self.scene);
        let guard = self.turn.start(config(&self.policy));
        Self { guard, ..self }
    }

    /// The file of the policy.
    pub fn policy(&self) -> &Path {
        &self.policy
    }

    pub fn ns(&self) -> &str {
        self.scene.ns.name()
    }

    /// A grant for the emergency account and this namespace, requested by Oscar.
    pub fn grant(&self, name: &str, seconds: i64) -> Value {
        let end = Timestamp::now() + SignedDuration::from_secs(seconds);
        json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
            "metadata": {"name": format!("{}-{name}", self.ns())},
            "spec": {
                "subjects": {"serviceAccounts": [ACCOUNT]},
                "scope": {"namespaces": [self.ns()]},
                "reason": "checkout OOM-killed", "ticket": "INC-4711",
                "requestedBy": OSCAR, "expiresAt": end,
            },
        })
    }

    /// `kubectl set resources` by the emergency account.
    pub fn raise(&self, memory: &str) -> Invocation {
        let line = format!("set resources deploy/myapp --limits memory={memory}");
        self.scene.kubectl_as(&people().emergency, &line)
    }

    /// The records of emergency changes in the namespace.
    pub fn changes(&self) -> Vec<Value> {
        let list = self.scene.get("emergencychanges");
        list["items"].as_array().unwrap().clone()
    }

    /// Waits until the only change is in this state.
    pub fn comes_to(&self, state: &str) -> Value {
        self.comes_in_time_to(state, Duration::from_secs(60))
    }

    /// The same with more patience.
    pub fn comes_in_time_to(&self, state: &str, patience: Duration) -> Value {
        within(patience, &format!("a change that is {state}"), || {
            let changes = self.changes();
            assert_eq!(changes.len(), 1, "{changes:?}");
            (changes[0]["status"]["state"] == state).then(|| changes[0].clone())
        })
    }
}

/// The environment names a proxy that does not work. Calls of the API server are exempt from it by its name; the sinks
/// are not, because alerts never use a proxy.
fn config(policy: &Path) -> GuardConfig<'_> {
    let binary = Path::new(env!("CARGO_BIN_EXE_helm-guard"));
    let proxy =
        ["HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name.into(), "http://127.0.0.1:1".into()));
    let mut config = GuardConfig::new(binary, &people().guard, "")
        .args([Path::new("--policy"), policy])
        .args(["--guard-namespace", "helm-guard"])
        .args(["--log-format", "json"])
        .args(["--drain-delay", "200ms"]);
    config.env.extend(proxy);
    config.env.push(("NO_PROXY".into(), "localhost".into()));
    config
}

/// An `EmergencyChange` of a change that never happened.
pub fn made_up_record(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"user": "a", "at": "2026-01-01T00:00:00Z", "requestUid": "u", "operation": "Delete",
            "object": {"apiVersion": "v1", "kind": "Service", "name": "a"},
            "release": {"name": "a", "namespace": namespace, "chart": "a-1", "revision": 1},
            "reconcileBy": "2026-01-01T00:00:00Z"},
    })
}

pub fn create(kubeconfig: &Path, grant: &Value) -> Invocation {
    let kubectl = shared().kubectl().cmd(kubeconfig);
    kubectl.args(["create", "-f", "-"]).stdin(grant.to_string())
}

/// `helm-guard break-glass LINE`.
pub fn break_glass(kubeconfig: &Path, line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .arg("break-glass")
        .args(line)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .output()
        .unwrap()
}

/// Its output, if it succeeds.
pub fn break_glass_ok(kubeconfig: &Path, line: &[&str]) -> String {
    let output = break_glass(kubeconfig, line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
