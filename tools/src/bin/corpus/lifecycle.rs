//! The life of a release of one chart: install, upgrade, rollback, upgrade, uninstall, with the checks
//! in between, and the analysis of failed steps. A step counts as denied if Helm's output contains the
//! guard's denial, or if it fails with the guard and succeeds without it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use testbed::{HelmVersion, Output};

use crate::{
    api::is_denial,
    charts::Chart,
    checks::{self, Checked, Depth},
    environment::Environment,
    log::Log,
    probe::Context,
    remedies::Setup,
    scans::{self, ScannedRelease},
    table::Row,
    tally::Tally,
};

/// One chart with one Helm.
pub struct RunConfig<'a> {
    pub chart: &'a Chart,
    pub version: HelmVersion,
    /// How long the checks may take.
    pub patience: Duration,
    /// How many fields of one object are tried at most.
    pub most_leaves: usize,
    /// The number of the chart and of all charts, for progress.
    pub position: (usize, usize),
    pub log: &'a Log,
    /// Whether the log also contains what the API server itself rejected.
    pub refusals: bool,
    /// Whether this Helm 4 applies client-side.
    pub is_client_side: bool,
}

/// The versions of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// From the older version to the newer one.
    OlderToNewer,
    /// The newer version throughout, with other values for the upgrade if that is harmless.
    NewerOnly,
}

/// Whether the guard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guarded {
    /// It runs, and all checks are made.
    WithChecks,
    /// It runs, without checks.
    Yes,
    /// It does not run: does the chart itself work here?
    No,
}

/// The steps, in their order.
const STEPS: [&str; 5] = [
    "install",
    "upgrade",
    "rollback",
    "second upgrade",
    "uninstall",
];

/// How far a life cycle got.
struct Life {
    tally: Tally,
    passed: usize,
    failure: Option<Failure>,
}

struct Failure {
    step: usize,
    message: String,
}

impl Failure {
    fn is_refusal(&self) -> bool {
        is_denial(&self.message)
    }

    /// Helm's error output, without its warnings.
    fn headline(&self) -> String {
        let mut lines = self
            .message
            .lines()
            .filter(|line| !line.trim().is_empty())
            .skip_while(|line| !line.starts_with("Error:"));
        let mut line = lines.next().unwrap_or_default().to_owned();
        // "3 errors occurred:" is useless without the first of them.
        if line.ends_with(':') {
            line += lines.next().unwrap_or_default();
        }
        let step = STEPS.get(self.step).unwrap_or(&"step");
        format!("{step}: {}", line.chars().take(160).collect::<String>())
    }
}

/// Takes a chart through its life cycle, and returns the result.
pub fn run_chart(
    environment: &mut Environment,
    config: &RunConfig<'_>,
    setup: &mut Setup,
) -> anyhow::Result<Row> {
    let start = Instant::now();
    let mut row = Row::new(&config.chart.name, config.version);
    let plans: &[Plan] = match config.chart.older {
        Some(_) => &[Plan::OlderToNewer, Plan::NewerOnly],
        None => &[Plan::NewerOnly],
    };
    for plan in plans {
        let viable = try_plan(environment, config, setup, *plan, &mut row)?;
        if viable {
            break;
        }
    }
    row.notes.extend(setup.notes());
    row.seconds = start.elapsed().as_secs_f64();
    Ok(row)
}

/// Returns whether the plan works here, with or without the guard.
fn try_plan(
    environment: &mut Environment,
    config: &RunConfig<'_>,
    setup: &mut Setup,
    plan: Plan,
    row: &mut Row,
) -> anyhow::Result<bool> {
    let life = live(environment, config, setup, plan, Guarded::WithChecks)?;
    row.tally += life.tally;
    let Some(failure) = &life.failure else {
        row.passed = life.passed;
        return Ok(true);
    };
    log_failure(config, failure, "with the guard");
    if failure.is_refusal() {
        row.passed = life.passed;
        row.refused += 1;
        row.notes.push(failure.headline());
        return Ok(true);
    }
    progress(config, "the same without the guard");
    environment.stop_guard();
    let bare = live(environment, config, setup, plan, Guarded::No);
    environment.start_guard()?;
    let bare = bare?;
    if let Some(bare) = &bare.failure
        && bare.step <= failure.step
    {
        log_failure(config, bare, "without the guard");
        // Counts made before a failure of the chart itself stay.
        row.passed = row.passed.max(life.passed);
        row.not_here.push(bare.headline());
        return Ok(false);
    }
    progress(config, "once more with the guard");
    let again = live(environment, config, setup, plan, Guarded::Yes)?;
    row.passed = again.passed;
    if let Some(again) = &again.failure {
        log_failure(config, again, "with the guard, again");
        row.refused += 1;
        row.notes.push(again.headline());
    } else {
        row.notes
            .push(format!("failed once: {}", failure.headline()));
    }
    Ok(true)
}

fn log_failure(config: &RunConfig<'_>, failure: &Failure, how: &str) {
    config.log.write(&json!({
        "run": format!("{} {}", config.chart.name, config.version),
        "what": if failure.is_refusal() { "refused" } else { "failed" },
        "how": how,
        "step": STEPS.get(failure.step),
        "message": failure.message.chars().take(2000).collect::<String>(),
    }));
}

/// One life cycle from a clean cluster to a clean cluster; repeated while the chart turns out to
/// need something that can be provided.
fn live(
    environment: &mut Environment,
    config: &RunConfig<'_>,
    setup: &mut Setup,
    plan: Plan,
    guarded: Guarded,
) -> anyhow::Result<Life> {
    loop {
        let namespace = environment.namespace(&config.chart.name, config.version)?;
        let life = steps(environment, config, setup, (plan, guarded, &namespace));
        environment.clean_up(&namespace)?;
        let life = life?;
        match &life.failure {
            Some(failure) if !failure.is_refusal() && setup.learn(&failure.message) => {
                progress(config, &format!("again: {}", failure.headline()));
            }
            _ => return Ok(life),
        }
    }
}

fn steps(
    environment: &Environment,
    config: &RunConfig<'_>,
    setup: &Setup,
    (plan, guarded, namespace): (Plan, Guarded, &str),
) -> anyhow::Result<Life> {
    prepare(environment, config, setup)?;
    let release = release_name(&config.chart.name);
    let newer = config.chart.newer.display().to_string();
    let older = match (plan, &config.chart.older) {
        (Plan::OlderToNewer, Some(older)) => older.display().to_string(),
        _ => newer.clone(),
    };
    let bump = match plan {
        Plan::OlderToNewer => Vec::new(),
        Plan::NewerOnly => harmless_values(environment, config),
    };
    let mut life = Life {
        tally: Tally::default(),
        passed: 0,
        failure: None,
    };
    let mut deadline = Instant::now() + config.patience;
    for (step, name) in STEPS.iter().enumerate() {
        progress(config, name);
        let helm = |words: &[&str], more: &[&[String]]| {
            let words = words.iter().map(|word| (*word).to_owned());
            let args: Vec<String> = words.chain(more.concat()).collect();
            helm(environment, config, setup, (namespace, &args)).run()
        };
        let args = config.chart.args.as_slice();
        let output = match step {
            0 => {
                let crds = setup.crds_apart.then(|| "--skip-crds".to_owned());
                helm(&["install", &release, &older], &[args, crds.as_slice()])
            }
            1 | 3 => {
                let upgrade = ["upgrade", &release, &newer];
                let output = helm(&upgrade, &[args, &bump]);
                // Other values can be invalid for a chart where its own are not.
                if output.status.success() || bump.is_empty() || is_denial(&output.stderr) {
                    output
                } else {
                    helm(&upgrade, &[args])
                }
            }
            2 => helm(&["rollback", &release, "1"], &[]),
            _ => helm(&["uninstall", &release], &[]),
        };
        if let Some(message) = failure(&output) {
            life.failure = Some(Failure { step, message });
            return Ok(life);
        }
        life.passed += 1;
        let scanned = ScannedRelease {
            environment,
            namespace,
            release: &release,
        };
        let context = context(environment, config, (name, deadline));
        if guarded == Guarded::WithChecks && *name != "uninstall" {
            life.tally += scans::after_helm(&scanned, &context)?;
        }
        environment.silence()?;
        let depth = match step {
            0 => Depth::DryRuns,
            3 => Depth::WithDrift,
            _ => continue,
        };
        if guarded == Guarded::WithChecks {
            progress(config, "checks");
            let began = Instant::now();
            let checked = check(&scanned, config, &context, depth)?;
            life.tally += checked.tally;
            if depth == Depth::WithDrift {
                progress(config, "drift, and an upgrade");
                let upgrade = |flags: &[&str]| {
                    let upgrade = ["upgrade", &release, &newer];
                    helm(&[&upgrade, flags].concat(), &[args])
                };
                life.tally += scans::after_drift(&scanned, &context, &checked.denied, &upgrade)?;
            }
            if depth == Depth::DryRuns {
                // Half of the time for each of the two stages, or more for the second if the first leaves some.
                deadline += config.patience.saturating_sub(began.elapsed()) / 2;
            }
        }
    }
    Ok(life)
}

/// Helm 4 warns where Helm 3 fails when an uninstall leaves objects behind.
fn failure(output: &Output) -> Option<String> {
    let refused = is_denial(&output.stderr) || is_denial(&output.stdout);
    (!output.status.success() || refused).then(|| format!("{}\n{}", output.stderr, output.stdout))
}

fn prepare(environment: &Environment, config: &RunConfig<'_>, setup: &Setup) -> anyhow::Result<()> {
    for namespace in &setup.namespaces {
        environment.create_namespace(namespace)?;
    }
    if setup.crds_apart {
        let chart = config.chart.newer.display().to_string();
        let shown = environment
            .helm(config.version)
            .args(["show", "crds", &chart])
            .run();
        environment.create_what_can_be(&shown.stdout);
    }
    let crds = setup.crds();
    environment.block_on(async {
        for crd in &crds {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            environment.emergency.post(path, crd).await?;
        }
        for (group, version, _) in &setup.kinds {
            let path = format!("/apis/{group}/{version}");
            crate::api::eventually(Duration::from_secs(10), || async {
                Ok(environment.emergency.get(&path).await?.is_ok())
            })
            .await?;
        }
        crate::api::eventually(Duration::from_secs(10), || async {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            let crds = environment.emergency.get(path).await?.body;
            let items = crds.get("items").and_then(Value::as_array).cloned();
            Ok(items
                .into_iter()
                .flatten()
                .all(|item| is_established(&item)))
        })
        .await?;
        anyhow::Ok(())
    })
}

fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type") == Some(&json!("Established"))
            && condition.get("status") == Some(&json!("True"))
    })
}

fn helm(
    environment: &Environment,
    config: &RunConfig<'_>,
    setup: &Setup,
    (namespace, args): (&str, &[String]),
) -> testbed::Invocation {
    // The time is for hooks only: nothing waits for pods, whose images do not run.
    let helm = environment.helm(config.version).args(args).args([
        "--namespace",
        namespace,
        "--timeout",
        "60s",
    ]);
    let applies = args.first().is_some_and(|step| step != "uninstall");
    let helm = if config.is_client_side && applies {
        helm.arg("--server-side=false")
    } else {
        helm
    };
    if setup.no_hooks {
        helm.arg("--no-hooks")
    } else {
        helm
    }
}

/// Values that change a chart's objects in harmless ways, by names that most charts share.
fn harmless_values(environment: &Environment, config: &RunConfig<'_>) -> Vec<String> {
    let chart = config.chart.newer.display().to_string();
    let output = environment
        .helm(config.version)
        .args(["show", "values", &chart])
        .run();
    let has = |name: &str| {
        output.stdout.lines().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    };
    ["podAnnotations", "commonAnnotations", "podLabels"]
        .into_iter()
        .find(|name| has(name))
        .map(|name| vec!["--set".to_owned(), format!("{name}.corpus=second")])
        .unwrap_or_default()
}

/// Release names are shorter than chart names may be, and lower case.
fn release_name(chart: &str) -> String {
    let name: String = chart
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    name.trim_matches('-').to_owned()
}

fn context<'a>(
    environment: &'a Environment,
    config: &RunConfig<'a>,
    (stage, deadline): (&str, Instant),
) -> Context<'a> {
    Context {
        somebody: &environment.somebody,
        emergency: &environment.emergency,
        log: config.log,
        refusals: config.refusals,
        title: format!("{} {} after {stage}", config.chart.name, config.version),
        deadline,
        most_leaves: config.most_leaves,
    }
}

fn check(
    of: &ScannedRelease<'_>,
    config: &RunConfig<'_>,
    context: &Context<'_>,
    depth: Depth,
) -> anyhow::Result<Checked> {
    let (environment, release) = (of.environment, of.release);
    let manifest = environment
        .helm(config.version)
        .args(["get", "manifest", release, "--namespace", of.namespace])
        .run();
    anyhow::ensure!(
        manifest.status.success(),
        "failed to read the manifest of {release}: {}",
        manifest.stderr
    );
    let objects = environment
        .declared(&manifest.stdout, of.namespace)
        .with_context(|| format!("failed to read the manifest of {release}"))?;
    environment.settle(&objects)?;
    let checked = environment.block_on(checks::check(context, objects, depth));
    if !environment.guard_serves() {
        config.log.write(&json!({
            "run": context.title, "what": "the guard does not serve", "log": environment.guard_log(),
        }));
        eprintln!("corpus: the guard no longer serves");
    }
    Ok(checked)
}

fn progress(config: &RunConfig<'_>, what: &str) {
    let (number, of) = config.position;
    let (chart, version) = (&config.chart.name, config.version);
    eprintln!("corpus: [{number}/{of}] {chart} {version}: {what}");
}
