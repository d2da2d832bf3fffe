//! Releases that the adversary attacks, and their declared objects.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;
use testbed::{HelmVersion, Output};

use crate::{
    api::{Persist, eventually, is_denial},
    declared::objects,
    discovery::Served,
    exclusions, forgery,
    play::Stage,
    request::Place,
    target::{OWNED_BY, Role, Target},
    world::World,
};

#[derive(Clone, Debug)]
pub struct Release {
    pub name: String,
    pub namespace: String,
    pub chart: PathBuf,
    /// The kubeconfig of the user who installs it.
    pub helm: HelmVersion,
    /// Further arguments of Helm.
    pub args: Vec<String>,
    /// Its webhook configurations. Nothing answers them here, so they are removed.
    pub webhooks: Vec<String>,
}

impl Release {
    /// `helm LINE -n NAMESPACE` by Alice, one at a time.
    pub async fn helm(&self, world: &World, words: &[&str]) -> Output {
        let _turn = world.helm.lock().await;
        let helm = world.plane.helm(self.helm).cmd(world.plane.alice());
        let helm = helm.args(words).args(["-n", &self.namespace]);
        tokio::task::block_in_place(|| helm.run())
    }

    /// Removes the release and installs it again, if even Helm cannot restore it.
    pub async fn rebuild(&self, world: &World) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        world.oncall.delete(&path, Persist::Really).await?;
        let gone = eventually(Duration::from_secs(90), || async {
            Ok(world.oncall.get(&path).await?.code == 404)
        });
        anyhow::ensure!(gone.await?, "{} does not go", self.namespace);
        self.install(world).await
    }

    /// `helm install` in a new namespace.
    pub async fn install(&self, world: &World) -> anyhow::Result<()> {
        world.namespace(&self.namespace).await?;
        let chart = self.chart.display().to_string();
        let words = [
            "install",
            &self.name,
            &chart,
            "--timeout",
            "60s",
            "--take-ownership",
        ];
        let args = self.args.iter().map(String::as_str);
        let words: Vec<&str> = words.into_iter().chain(args).collect();
        let output = self.helm(world, &words).await;
        anyhow::ensure!(
            output.status.success(),
            "{}: {}",
            output.line,
            output.stderr
        );
        Ok(())
    }

    /// `helm upgrade` with the same chart: it recreates missing objects and resets values that differ.
    pub async fn upgrade(&self, world: &World, more: &[&str]) -> Output {
        let chart = self.chart.display().to_string();
        let words = ["upgrade", &self.name, &chart, "--history-max", "3"];
        let args = self.args.iter().map(String::as_str);
        let words: Vec<&str> = words
            .into_iter()
            .chain(args)
            .chain(more.iter().copied())
            .collect();
        let output = self.helm(world, &words).await;
        for path in &self.webhooks {
            // A remaining one shows as an object that cannot be written.
            let _ = world.oncall.delete(path, Persist::Really).await;
        }
        output
    }

    /// Removes its webhook configurations.
    pub async fn silence(&mut self, world: &World) -> anyhow::Result<()> {
        let prefix = "/apis/admissionregistration.k8s.io/v1";
        for kind in [
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
        ] {
            let list = world.oncall.get(&format!("{prefix}/{kind}")).await?.body;
            for item in list["items"].as_array().into_iter().flatten() {
                let annotation = ["metadata", "annotations", OWNED_BY[0]];
                let owner = annotation.iter().fold(item, |item, field| &item[field]);
                if let (true, Some(name)) =
                    (*owner == *self.name, item["metadata"]["name"].as_str())
                {
                    self.webhooks.push(format!("{prefix}/{kind}/{name}"));
                }
            }
        }
        for path in &self.webhooks {
            world.oncall.delete(path, Persist::Really).await?;
        }
        Ok(())
    }

    /// Upgrades, rolls back and uninstalls it, whatever has happened.
    pub async fn removed(&self, stage: &Stage<'_>) -> anyhow::Result<()> {
        forgery::locks(stage, "everything", "").await?;
        let uninstall = ["uninstall", &self.name];
        forgery::passes(stage, ("everything", "uninstall", ""), &uninstall).await?;
        Ok(())
    }

    /// Its declared objects in their current state, after the controllers have acted.
    pub async fn targets(&self, world: &World) -> anyhow::Result<Vec<Target>> {
        let manifest = self
            .helm(world, &["get", "manifest", &self.name])
            .await
            .ok();
        let parsed = world
            .plane
            .kubectl()
            .cmd(&self.kubeconfig(world)?)
            .args([
                "create",
                "--dry-run=client",
                "--validate=false",
                "-o",
                "json",
                "-f",
                "-",
            ])
            .stdin(manifest.stdout)
            .run();
        let all = objects(
            &world.mallory,
            &world.discovery,
            &parsed.stdout,
            &self.namespace,
        );
        let served = Served::ask(&world.mallory).await?;
        let mut targets = Vec::new();
        for object in all.await? {
            let place = Place::parse(&object.path);
            let live = settled(world, &object.path).await?;
            let (Some(place), Some(live)) = (place, live) else {
                world.report.lock().absent(&object.title);
                continue;
            };
            if let Some(reason) = exclusions::of(&object) {
                world.report.lock().excluded(&object.title, reason);
                continue;
            }
            let what = (object.title.as_str(), place, Role::Declared);
            targets.push(Target::new(&served, what, object.value, live));
        }
        Ok(targets)
    }

    /// Alice's kubeconfig with the namespace of the release in its context. `--namespace` would reject
    /// documents that name another one.
    fn kubeconfig(&self, world: &World) -> anyhow::Result<PathBuf> {
        let text = std::fs::read_to_string(world.plane.alice())?;
        let mut config: Value = serde_json::from_str(&text)?;
        config["contexts"][0]["context"]["namespace"] = self.namespace.as_str().into();
        let path = world
            .plane
            .scratch()
            .join(format!("{}.kubeconfig", self.namespace));
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Waits until the guard denies deleting one of the targets.
    pub async fn guarded(&self, world: &World, targets: &[Target]) -> anyhow::Result<()> {
        let probe = targets
            .iter()
            .find(|target| target.kind == "ConfigMap" || target.kind == "Service");
        let Some(probe) = probe.or(targets.first()) else {
            return Ok(());
        };
        let path = probe.place.path();
        let known = eventually(Duration::from_secs(30), || async {
            let reply = world.mallory.delete(&path, Persist::DryRun).await?;
            Ok(is_denial(reply.message()))
        });
        anyhow::ensure!(known.await?, "the guard does not know {}", self.name);
        Ok(())
    }
}

/// The object once its controller has observed its generation, or after a timeout; `None` if it does not
/// exist.
async fn settled(world: &World, path: &str) -> anyhow::Result<Option<Value>> {
    let last = parking_lot::Mutex::new(None);
    eventually(Duration::from_secs(10), || async {
        let reply = world.mallory.get(path).await?;
        let at = |pointer: &str| reply.body.pointer(pointer).cloned();
        let observed = at("/status/observedGeneration");
        let done = observed.is_none() || observed == at("/metadata/generation");
        *last.lock() = reply.is_ok().then_some(reply.body);
        Ok(done)
    })
    .await?;
    Ok(last.into_inner())
}
