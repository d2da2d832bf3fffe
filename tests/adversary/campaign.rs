//! A run: first everything listed, shuffled by the seed within each part; then random pairs until the
//! time is over; finally Helm, which must still be able to do its work.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use testbed::{Chart, HelmVersion};

use crate::{
    charts, deputies,
    dice::Dice,
    forgery,
    play::{Play, Stage},
    records,
    releases::Release,
    report::Report,
    request::Verb,
    setups, slow,
    strikes::{self, values},
    target::Target,
    world::World,
};

/// The configuration of a run.
#[derive(Debug)]
pub struct Config {
    /// Duration without the preparation.
    pub time: Duration,
    /// The seed of the order and of the random part.
    pub seed: u64,
    /// More charts to attack.
    pub charts: Option<PathBuf>,
    /// Only techniques whose name contains this.
    pub only: Option<String>,
    pub guard: PathBuf,
}

/// Objects attacked at the same time.
const AT_A_TIME: usize = 4;

/// Attacks until the time is over.
pub fn run(config: &Config) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(campaign(config))
}

async fn campaign(config: &Config) -> anyhow::Result<Report> {
    let world = World::start(&config.guard, Report::new(config.only.clone())).await?;
    let mut dice = Dice::new(config.seed);
    let begin = Instant::now();
    let end = begin + config.time;
    let shop = shop();
    shop.install(&world).await?;
    let mut targets = shop.targets(&world).await?;
    shop.guarded(&world, &targets).await?;
    let slow = slow::begin(&world).await?;
    attack_records(&world, begin + config.time / 3).await?;
    mark(begin, "records");
    let left = end.saturating_duration_since(Instant::now());
    let stage = Stage {
        world: &world,
        release: &shop,
        deadline: match config.charts {
            Some(_) => Instant::now() + left / 2,
            None => Instant::now() + left,
        },
    };
    attack(&stage, &mut targets, &mut dice).await?;
    slow::end(&world, slow).await?;
    shop.removed(&stage).await?;
    if let Some(dir) = &config.charts {
        charts::attack_all(&world, dir, (end, &mut dice)).await?;
    }
    attack_deployers(&world, Instant::now() + config.time / 5).await?;
    let opened = world.failed_open();
    let mut report = std::mem::take(&mut *world.report.lock());
    report.note(format!("the API server failed open {opened} times"));
    Ok(report)
}

/// Runs all parts against one release. Each has its share of the time; time that it does not use goes to the
/// next.
pub async fn attack(
    stage: &Stage<'_>,
    targets: &mut [Target],
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let time = stage.deadline.saturating_duration_since(begin);
    let part = |percent: u32| Stage {
        deadline: begin + time * percent / 100,
        ..*stage
    };
    for deputies in deputies::rounds(targets, &stage.release.namespace) {
        deputies::round(&part(30), targets, &deputies).await?;
    }
    mark(begin, "deputies");
    let singles = |target: &Target| {
        let strikes = strikes::all(target).into_iter();
        strikes.map(|strike| Play::alone(vec![strike])).collect()
    };
    systematically(&part(60), targets, singles, dice).await?;
    mark(begin, "singles");
    systematically(&part(90), targets, pairs, dice).await?;
    mark(begin, "pairs");
    randomly(&part(100), targets, dice).await?;
    mark(begin, "random");
    Ok(())
}

fn mark(begin: Instant, part: &str) {
    eprintln!(
        "adversary: {part} done after {:.0} s",
        begin.elapsed().as_secs_f64()
    );
}

/// The release with one object of every kind.
fn shop() -> Release {
    Release {
        name: "shop".to_owned(),
        namespace: "shop".to_owned(),
        chart: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adversary/chart"),
        helm: HelmVersion::V4,
        args: Vec::new(),
        webhooks: Vec::new(),
    }
}

/// A small release whose records, namespace and CRDs are attacked.
fn victim(world: &World) -> Release {
    let chart = Chart::new("victim", "1.0.0")
        .crd("gear.yaml", include_str!("gear.yaml"))
        .template("objects.yaml", include_str!("victim.yaml"))
        .values("color: blue\nextra: false\n");
    Release {
        name: "victim".to_owned(),
        namespace: "prod".to_owned(),
        chart: world.plane.chart(&chart),
        helm: HelmVersion::V3,
        args: Vec::new(),
        webhooks: Vec::new(),
    }
}

async fn attack_records(world: &World, deadline: Instant) -> anyhow::Result<()> {
    let release = victim(world);
    let stage = Stage {
        world,
        release: &release,
        deadline,
    };
    release.install(world).await?;
    let mut targets = release.targets(world).await?;
    release.guarded(world, &targets).await?;
    let mut infrastructure = records::infrastructure(world, &release, &targets).await?;
    for target in &mut infrastructure {
        stage
            .run(target, &Play::alone(strikes::all(target)))
            .await?;
    }
    for deputies in deputies::rounds(&infrastructure, &release.namespace) {
        deputies::round(&stage, &mut infrastructure, &deputies).await?;
    }
    let forgeries = forgery::all(&stage).await?;
    for forgery in &forgeries {
        forgery::run(&stage, &mut targets, forgery).await?;
    }
    forgery::all_locks(&stage, &forgeries).await?;
    Ok(())
}

/// Forged records with a policy that names deployers. This part is last because a removed policy leaves traces.
async fn attack_deployers(world: &World, deadline: Instant) -> anyhow::Result<()> {
    let release = victim(world);
    let stage = Stage {
        world,
        release: &release,
        deadline,
    };
    if stage.is_over() {
        return Ok(());
    }
    world.govern(forgery::ELSEWHERE).await?;
    release.rebuild(world).await?;
    let mut targets = release.targets(world).await?;
    release.guarded(world, &targets).await?;
    for forgery in forgery::all_with_deployers(&stage).await? {
        forgery::run(&stage, &mut targets, &forgery).await?;
    }
    Ok(())
}

/// The listed techniques, against each object alone.
async fn systematically(
    stage: &Stage<'_>,
    targets: &mut [Target],
    plays: impl Fn(&Target) -> Vec<Play>,
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let mut work: Vec<(&mut Target, Vec<Play>)> = targets
        .iter_mut()
        .map(|target| {
            let plays = plays(target);
            (target, plays)
        })
        .collect();
    for place in (1..work.len()).rev() {
        work.swap(place, dice.below(place + 1));
    }
    let most = work.iter().map(|(_, plays)| plays.len()).max().unwrap_or(0);
    // One technique for every object before the next technique, so that running out of time affects all objects
    // alike.
    for turn in 0..most {
        stream::iter(work.iter_mut())
            .map(|(target, plays)| async move {
                let Some(play) = plays.get(turn) else {
                    return Ok(());
                };
                if stage.is_over() {
                    stage.world.report.lock().leave(1);
                    return Ok(());
                }
                stage.run(target, play).await
            })
            .buffer_unordered(AT_A_TIME)
            .try_collect::<Vec<()>>()
            .await?;
    }
    sweep(stage, targets).await
}

/// Each setup, followed by its strikes.
fn pairs(target: &Target) -> Vec<Play> {
    let play = |(name, set_up)| Play {
        name,
        set_up,
        strikes: strikes::short(target),
    };
    setups::all(target).into_iter().map(play).collect()
}

/// Random setups, then a random strike, on a random object.
async fn randomly(
    stage: &Stage<'_>,
    targets: &mut [Target],
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let mut rounds = 0_usize;
    while !stage.is_over() && !targets.is_empty() {
        rounds += 1;
        let at = dice.below(targets.len());
        let target = &mut targets[at];
        let set_ups = setups::all(target);
        let mut play = Play {
            name: String::new(),
            set_up: Vec::new(),
            strikes: Vec::new(),
        };
        for _ in 0..=dice.below(2) {
            if let Some((name, strikes)) = dice.pick(&set_ups) {
                play.name = if play.name.is_empty() {
                    name.clone()
                } else {
                    format!("{} and {name}", play.name)
                };
                play.set_up.extend(strikes.clone());
            }
        }
        let all = strikes::all(target);
        let leaves = values::declared(target);
        for _ in 0..3 {
            play.strikes.extend(dice.pick(&all).cloned());
            if let Some(leaf) = dice.pick(&leaves) {
                let ways = values::ways(target);
                let verb = dice.pick(&ways).copied().unwrap_or(Verb::Merge);
                let way = (verb, target.place.clone());
                play.strikes.extend(if dice.once_in(3) {
                    values::removed(leaf, way)
                } else {
                    values::changed(target, leaf, way)
                });
            }
        }
        stage.run(target, &play).await?;
        if rounds.is_multiple_of(40) {
            sweep(stage, targets).await?;
        }
    }
    stage
        .world
        .report
        .lock()
        .note(format!("{rounds} random plays"));
    Ok(())
}

/// Checks every object for side effects of earlier attacks.
async fn sweep(stage: &Stage<'_>, targets: &mut [Target]) -> anyhow::Result<()> {
    for target in targets {
        if let Some(loss) = stage.loss(target).await? {
            stage.world.report.lock().find(
                "something before this",
                &target.title,
                &loss,
                Vec::new(),
            );
            stage.restore(target).await?;
        }
    }
    Ok(())
}
