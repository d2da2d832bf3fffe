//! The control plane, the guard in mode Deny, and who acts: Alice runs Helm, Mallory attacks, and a
//! break-glass user on call restores things.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use testbed::{ALICE, ControlPlane, Guard, GuardConfig};

use crate::{
    api::{Api, Persist, eventually, permits},
    declared::Discovery,
    report::Report,
};

/// An ordinary cluster-admin.
pub const MALLORY: &str = "mallory@example.com";
const ONCALL: &str = "oncall@example.com";
const ONCALL_GROUP: &str = "incident-commanders";

/// Everything that runs. The guard is dropped first, because it removes its registration.
pub struct World {
    guard: Guard,
    /// Whether the guard is the unoptimized test build. A timeout of that build says nothing about
    /// the guard.
    pub is_slow_build: bool,
    pub plane: ControlPlane,
    /// Mallory's API client.
    pub mallory: Api,
    /// The on-call user's API client.
    pub oncall: Api,
    /// Reads manifests.
    pub discovery: Discovery,
    /// What was tried, and the findings.
    pub report: Mutex<Report>,
    /// Helm runs one operation at a time.
    pub helm: tokio::sync::Mutex<()>,
}

impl World {
    /// Starts everything, as in `deploy/`.
    pub async fn start(binary: &Path, report: Report) -> anyhow::Result<Self> {
        let plane = ControlPlane::start()?;
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let crds = deploy.join("manifests/05-crds.yaml");
        for (flag, what) in [("-f", &crds), ("-k", &deploy)] {
            let kubectl = plane.kubectl().cmd(plane.admin());
            let apply = kubectl.args(["apply", "--server-side", flag]);
            apply.arg(what).ok();
        }
        for user in [MALLORY, ONCALL] {
            plane.grant_cluster_admin(user)?;
        }
        let permits = permits();
        let mallory = plane.user(MALLORY, &[])?;
        let mallory = Api::connect(&mallory, Arc::clone(&permits)).await?;
        let oncall = plane.user(ONCALL, &[ONCALL_GROUP])?;
        let oncall = Api::connect(&oncall, permits).await?;
        let account = plane.service_account("helm-guard", "helm-guard")?;
        let config = GuardConfig::new(binary, &account, "Deny")
            .args(["--break-glass-group", ONCALL_GROUP])
            .args(["--guard-namespace", "helm-guard"])
            .args(["--log-format", "json"]);
        let mut guard = Guard::start(&plane, config)?;
        // The report counts them, since an attack may be what keeps the guard from answering.
        guard.may_miss_calls();
        Ok(Self {
            guard,
            is_slow_build: binary == Path::new(env!("CARGO_BIN_EXE_helm-guard")),
            plane,
            mallory,
            oncall,
            discovery: Discovery::default(),
            report: Mutex::new(report),
            helm: tokio::sync::Mutex::new(()),
        })
    }

    /// The audit lines since then about an object that name Mallory or an autoscaler.
    pub fn named_since(&self, since: Timestamp, (kind, name): (&str, &str)) -> Option<String> {
        let lines = self.guard.log();
        let line = lines.into_iter().find(|line| {
            let at = line["timestamp"].as_str().and_then(|at| at.parse().ok());
            let late = at.is_some_and(|at: Timestamp| at >= since);
            let object = &line["object"];
            let passed = line["verdict"] != "denied";
            let by_her = line["user"] == MALLORY;
            let text = line.to_string();
            let autoscaled = text.contains("undeclared-autoscaler") && text.contains(name);
            let about = object["kind"] == kind && object["name"] == name;
            late && (line["target"] == "audit" && passed && about && by_her || autoscaled)
        })?;
        Some(format!("audit: {} {}", line["verdict"], line["reason"]))
    }

    /// The Helm requests that the guard has denied since then.
    pub fn denied_helm(&self, since: Timestamp) -> Option<String> {
        let line = self.guard.log().into_iter().find(|line| {
            let at = line["timestamp"].as_str().and_then(|at| at.parse().ok());
            let late = at.is_some_and(|at: Timestamp| at >= since);
            late && line["verdict"] == "denied" && line["user"] == ALICE
        })?;
        let (object, releases) = (&line["object"], &line["findings"]);
        Some(format!(
            "{} {}: {object} {releases}",
            line["operation"], line["reason"]
        ))
    }

    /// A policy that lets Alice deploy everywhere and Mallory in one namespace.
    pub async fn govern(&self, hers: &str) -> anyhow::Result<()> {
        let path = "/apis/helm-guard.dev/v1alpha1/guardpolicies";
        let policy = json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
            "metadata": {"name": "default"},
            "spec": {
                "mode": "Deny",
                "records": {
                    "deployersMode": "Deny",
                    "deployers": [
                        {"subjects": {"users": [ALICE]}},
                        {"subjects": {"users": [MALLORY]}, "scope": {"namespaces": [hers]}},
                    ],
                },
                "breakGlass": {"identities": [{"subjects": {"groups": [ONCALL_GROUP]}}]},
            },
        });
        self.make(path, &policy).await?;
        let in_force = eventually(Duration::from_secs(30), || async {
            let policy = self.oncall.get(&format!("{path}/default")).await?.body;
            Ok(policy["status"]["inForce"] == true)
        });
        anyhow::ensure!(in_force.await?, "the policy does not come into force");
        Ok(())
    }

    /// An event of the guard that names an undeclared autoscaler.
    pub async fn names_autoscaler(&self, namespace: &str) -> anyhow::Result<Option<String>> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let events = self.oncall.get(&path).await?.body;
        let mut events = events["items"].as_array().into_iter().flatten();
        let named = events.find(|event| event["reason"] == "UndeclaredAutoscaler");
        Ok(named.map(|event| format!("event: {}", event["note"])))
    }

    /// The guard's `/metrics`.
    pub fn metrics(&self) -> String {
        self.guard.admin_get("/metrics").body
    }

    /// How often the API server failed open.
    pub fn failed_open(&self) -> usize {
        usize::try_from(self.plane.failed_open()).unwrap_or(usize::MAX)
    }

    /// Creates a namespace, after waiting for a deleted one of the same name.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let made = eventually(Duration::from_secs(60), || async {
            let reply = self.oncall.post("/api/v1/namespaces", &object).await?;
            let there = self
                .oncall
                .get(&format!("/api/v1/namespaces/{name}"))
                .await?;
            let phase = there.body.pointer("/status/phase").and_then(Value::as_str);
            Ok(reply.is_ok() || phase == Some("Active"))
        });
        anyhow::ensure!(made.await?, "failed to create the namespace {name}");
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        let ready = eventually(Duration::from_secs(30), || async {
            Ok(self.oncall.get(&account).await?.is_ok())
        });
        ready.await.map(drop)
    }

    /// Creates an object, replacing an existing one.
    pub async fn make(&self, collection: &str, object: &Value) -> anyhow::Result<()> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let path = format!("{collection}/{}", name.context("an object without a name")?);
        self.oncall.delete(&path, Persist::Really).await?;
        let reply = self.oncall.post(collection, object).await?;
        anyhow::ensure!(reply.is_ok(), "failed to make {path}: {}", reply.message());
        Ok(())
    }

    /// Waits until the garbage collector has processed earlier changes, by an orphan that it must delete.
    pub async fn garbage_collected(&self) -> anyhow::Result<()> {
        let path = "/api/v1/namespaces/default/configmaps";
        let orphan = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "orphan", "ownerReferences": [{
                "apiVersion": "v1", "kind": "ConfigMap", "name": "nobody",
                "uid": "33333333-3333-3333-3333-333333333333",
            }]},
        });
        self.make(path, &orphan).await?;
        let gone = eventually(Duration::from_secs(60), || async {
            Ok(self.oncall.get(&format!("{path}/orphan")).await?.code == 404)
        });
        anyhow::ensure!(gone.await?, "the garbage collector does not collect");
        Ok(())
    }
}
