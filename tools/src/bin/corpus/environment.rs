//! The control plane, the guard and the users of a run.

use std::{fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::Value;
use testbed::{ControlPlane, Guard, GuardConfig, HelmVersion, Invocation};
use tokio::runtime::Runtime;

use crate::{
    api::{Api, permits},
    cleanup::{self, Baseline},
    declared::{Discovery, Object, objects},
};

const SOMEBODY: &str = "bob@example.com";
const EMERGENCY: &str = "emergency@example.com";

/// Everything that runs, and its users. Helm is run by the testbed's ordinary user.
pub struct Environment {
    /// Dropped first, because it removes its registration.
    guard: Option<Guard>,
    plane: ControlPlane,
    binary: PathBuf,
    runtime: Runtime,
    baseline: Baseline,
    discovery: Discovery,
    namespaces: usize,
    /// An ordinary cluster-admin who did not install anything.
    pub somebody: Api,
    /// A break-glass user.
    pub emergency: Api,
}

impl Environment {
    /// Starts the control plane and the guard.
    pub fn start(binary: PathBuf) -> anyhow::Result<Self> {
        eprintln!("corpus: starting the control plane");
        let plane = ControlPlane::start()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("failed to start the runtime")?;
        let permits = permits();
        let mut users = Vec::new();
        for name in [SOMEBODY, EMERGENCY] {
            plane.grant_cluster_admin(name)?;
            let kubeconfig = plane.user(name, &[])?;
            users.push(runtime.block_on(Api::connect(&kubeconfig, Arc::clone(&permits)))?);
        }
        let (Some(emergency), Some(somebody)) = (users.pop(), users.pop()) else {
            anyhow::bail!("failed to connect the users");
        };
        let mut environment = Self {
            guard: None,
            baseline: runtime.block_on(Baseline::take(&emergency))?,
            plane,
            binary,
            runtime,
            discovery: Discovery::default(),
            namespaces: 0,
            somebody,
            emergency,
        };
        environment.start_guard()?;
        Ok(environment)
    }

    /// Starts everything again, if something remains that cannot be removed.
    pub fn renew(&mut self) -> anyhow::Result<()> {
        eprintln!("corpus: something remains that cannot be removed: starting again");
        self.stop_guard();
        *self = Self::start(self.binary.clone())?;
        Ok(())
    }

    /// Starts the guard, or a new one if it has exited.
    pub fn start_guard(&mut self) -> anyhow::Result<()> {
        let config = GuardConfig::new(&self.binary, self.plane.admin(), "Deny")
            .args(["--break-glass-user", EMERGENCY]);
        let mut guard = Guard::start(&self.plane, config)?;
        // A change that nobody evaluated is a finding of the check that made it.
        guard.may_miss_calls();
        self.guard = Some(guard);
        Ok(())
    }

    /// Stops the guard, which removes its registration.
    pub fn stop_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.stop();
        }
    }

    /// Whether the guard serves.
    pub fn guard_serves(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| {
            testbed::http_get(&guard.admin_url("/readyz")).is_ok_and(|reply| reply.status == 200)
        })
    }

    /// The guard's log, for errors.
    pub fn guard_log(&self) -> String {
        self.guard
            .as_ref()
            .map(|guard| guard.stdout() + &guard.stderr())
            .unwrap_or_default()
    }

    /// Removes what a release left behind; starts again if something remains.
    pub fn clean_up(&mut self, namespace: &str) -> anyhow::Result<()> {
        let swept = cleanup::sweep(&self.emergency, &self.baseline, namespace);
        match self.runtime.block_on(swept) {
            Ok(left) if left.is_empty() => Ok(()),
            Ok(left) => {
                eprintln!("corpus: left behind: {}", left.join(", "));
                self.renew()
            }
            Err(error) => {
                eprintln!("corpus: failed to clean up: {error:#}");
                self.renew()
            }
        }
    }

    /// Removes the webhooks that a release brought.
    pub fn silence(&self) -> anyhow::Result<()> {
        self.block_on(cleanup::silence(&self.emergency, &self.baseline))
    }

    /// Runs `helm-guard scan` and returns its output. It needs no guard.
    pub fn scan(&self, release: &str, namespace: &str) -> anyhow::Result<std::process::Output> {
        let output = Command::new(&self.binary)
            .args([
                "scan",
                release,
                "--namespace",
                namespace,
                "--output",
                "json",
            ])
            .arg("--kubeconfig")
            .arg(self.plane.admin())
            .output();
        output.context("failed to run helm-guard scan")
    }

    /// Runs a future to its end.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A new namespace for each run, so that no run waits for the deletion of the last one.
    pub fn namespace(&mut self, chart: &str, version: HelmVersion) -> anyhow::Result<String> {
        self.namespaces += 1;
        let chart: String = chart.chars().take(40).collect();
        let name = format!("corpus-{chart}-{version}-{}", self.namespaces)
            .to_ascii_lowercase()
            .replace(['_', '.'], "-");
        self.create_namespace(&name)?;
        Ok(name)
    }

    /// Creates a namespace unless it exists. Waits for a terminating one of that name.
    pub fn create_namespace(&self, name: &str) -> anyhow::Result<()> {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        });
        let path = format!("/api/v1/namespaces/{name}");
        let made = crate::api::eventually(Duration::from_secs(60), || async {
            let reply = self.emergency.post("/api/v1/namespaces", &object).await?;
            if reply.is_ok() {
                return Ok(true);
            }
            let there = self.emergency.get(&path).await?.body;
            let phase = there.pointer("/status/phase").and_then(Value::as_str);
            Ok(phase == Some("Active"))
        });
        let made = self.block_on(made)?;
        anyhow::ensure!(made, "failed to create the namespace {name}");
        Ok(())
    }

    /// A Helm command of the ordinary user.
    pub fn helm(&self, version: HelmVersion) -> Invocation {
        self.plane.helm(version).cmd(self.plane.alice())
    }

    /// The objects of a manifest, as kubectl reads it.
    pub fn declared(&self, manifest: &str, namespace: &str) -> anyhow::Result<Vec<Object>> {
        let kubeconfig = self.kubeconfig_for(namespace)?;
        let output = self
            .plane
            .kubectl()
            .cmd(&kubeconfig)
            .args([
                "create",
                "--dry-run=client",
                "--validate=false",
                "--output=json",
                "--filename=-",
            ])
            .stdin(manifest)
            .run();
        if !output.status.success() {
            eprintln!(
                "corpus: kubectl left something out: {}",
                output.stderr.trim()
            );
        }
        self.block_on(objects(
            &self.somebody,
            &self.discovery,
            &output.stdout,
            namespace,
        ))
    }

    /// Creates the objects of a manifest that can be created.
    pub fn create_what_can_be(&self, manifest: &str) {
        let output = self
            .plane
            .kubectl()
            .cmd(self.plane.admin())
            .args(["create", "--validate=false", "--filename=-"])
            .stdin(manifest)
            .run();
        if !output.status.success() {
            eprintln!("corpus: not created: {}", output.stderr.trim());
        }
    }

    /// The ordinary user's kubeconfig with another default namespace: `--namespace` would reject
    /// documents that name one.
    fn kubeconfig_for(&self, namespace: &str) -> anyhow::Result<PathBuf> {
        let text = fs::read_to_string(self.plane.alice())?;
        let mut config: Value = serde_json::from_str(&text)?;
        if let Some(context) = config.pointer_mut("/contexts/0/context") {
            *context = serde_json::json!({
                "cluster": context.get("cluster"),
                "user": context.get("user"),
                "namespace": namespace,
            });
        }
        let path = self.plane.scratch().join("corpus.kubeconfig");
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Waits until the guard knows the current manifest.
    pub fn settle(&self, objects: &[Object]) -> anyhow::Result<()> {
        let probe = objects.iter().find(|object| object.exempt.is_none());
        let Some(probe) = probe else {
            return Ok(());
        };
        self.block_on(crate::api::eventually(Duration::from_secs(10), || async {
            let path = &probe.path;
            let reply = self
                .somebody
                .delete(path, crate::api::Persist::DryRun)
                .await?;
            Ok(reply.denied_by_guard())
        }))?;
        // The denial shows that the guard knows the release, not that it has this revision's
        // manifest; the watch brings that within milliseconds.
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }
}
