//! Real charts from a folder, installed one after the other and attacked like the built-in one.

use std::{path::Path, time::Instant};

use testbed::HelmVersion;

use crate::{
    campaign::attack, corpus_charts, dice::Dice, play::Stage, releases::Release, remedies::Setup,
    world::World,
};

/// Each chart gets its share of the remaining time.
pub async fn attack_all(
    world: &World,
    dir: &Path,
    (deadline, dice): (Instant, &mut Dice),
) -> anyhow::Result<()> {
    let charts = corpus_charts::find(dir, &[])?;
    let mut left = u32::try_from(charts.len())?;
    for (number, chart) in charts.iter().enumerate() {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        left -= 1;
        let mut release = Release {
            name: chart.name.chars().take(40).collect(),
            namespace: format!("chart-{}", chart.name),
            chart: chart.newer.clone(),
            helm: HelmVersion::ALL[number % 2],
            args: chart.args.clone(),
            webhooks: Vec::new(),
        };
        if let Err(error) = installed(world, &mut release).await {
            let note = format!("{} does not install here: {error}", chart.name);
            world.report.lock().note(note.chars().take(300).collect());
            continue;
        }
        eprintln!("adversary: {} for {:.0} s", chart.name, share.as_secs_f64());
        let mut targets = release.targets(world).await?;
        release.guarded(world, &targets).await?;
        let stage = Stage {
            world,
            release: &release,
            deadline: Instant::now() + share,
        };
        attack(&stage, &mut targets, dice).await?;
        release.removed(&stage).await?;
    }
    Ok(())
}

/// Installs a chart and whatever its errors show to be missing.
async fn installed(world: &World, release: &mut Release) -> anyhow::Result<()> {
    let mut setup = Setup::default();
    let mut tries = 0;
    loop {
        let result = release.install(world).await;
        let Err(error) = result else { break };
        tries += 1;
        if tries > 4 || !setup.learn(&error.to_string()) {
            return Err(error);
        }
        release.helm(world, &["uninstall", &release.name]).await;
        for namespace in &setup.namespaces {
            world.namespace(namespace).await?;
        }
        for crd in setup.crds() {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            world.oncall.post(path, &crd).await?;
        }
        if setup.no_hooks && !release.args.iter().any(|arg| arg == "--no-hooks") {
            release.args.push("--no-hooks".to_owned());
        }
    }
    release.silence(world).await
}
