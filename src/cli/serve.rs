//! `helm-guard serve`: puts the rooms together, in the order in which they can work.
//!
//! 1. Certificate and sockets: what can only fail for good fails here, with exit code 1.
//! 2. The index fills. Reviews that come early are answered from what is there.
//! 3. The registration is written once the index is complete, so that the API server only calls a
//!    guard that knows the releases.
//! 4. Until a signal, or until a task that must not end does; then the drain.

pub(super) mod args;
pub(super) mod config;
mod health;
mod logging;
mod policy;
mod watchdog;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use helm_guard_core::{
    api::{EmergencyChange, policy::alerts::AlertKind},
    compare::redact::Redactor,
    policy::Live,
};
use jiff::Timestamp;
use kube::Client;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use self::{
    config::{AtExit, AuditTarget, Config},
    health::Health,
    policy::{Keeper, Standing, Terms as PolicyTerms},
    watchdog::Watchdog,
};
use super::{
    live_sources::LiveSources,
    process::{install_crypto, key},
};
use crate::{
    cluster::{
        Clients,
        admission::AdmissionPolicies,
        client,
        lease::{Candidate, LEASE_NAME, Role, Terms},
        live::Objects,
    },
    record::{
        Recorder,
        alerts::{Alert, Alerts, Counters},
        audit::{AuditLog, file::AuditFile},
        changes::Changes,
        events,
        forecast::{Gathered, keeper::Keeper as ForecastKeeper},
        metrics::Metrics,
        tokens::Tokens,
        tracker::{self, Tracker},
    },
    releases::{self, Releases},
    review::{Emergencies, Reviewer},
    webhook::{
        accept::{self, Limits, Options, Protocol},
        admin::{self, Admin},
        endpoint::Endpoint,
        handler::{self, Webhook},
        intake::Intake,
        paths::Paths,
        registration::installation::Installation,
        shutdown::{self, Signals, Stop, Tasks},
        tls::{self, HttpVersions, ServingCertificate, TlsOptions, client_auth::ClientAuth},
        upkeep::{self, Intervals, Registered, Source, Target, Upkeep},
        versions::{self, Following, Pace},
    },
};

/// Threads for what blocks, beside one for each worker.
const OTHER_THREADS: usize = 2;

/// Runs until a signal.
pub(super) fn run(args: args::Serve) -> anyhow::Result<()> {
    let config = Config::resolve(args)?;
    install_crypto();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads.get())
        // Each holds on to what it has once had. What runs there is short: records are decoded by as
        // many threads as there are cores, files are read.
        .max_blocking_threads(config.worker_threads.get() + OTHER_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(serve(config))
}

/// What runs beside the answering of reviews.
#[derive(Default)]
struct Kept {
    tasks: Tasks,
    stop: Stop,
}

impl Kept {
    /// Starts a task that would go on for ever, and ends it when the guard has answered its last
    /// review.
    fn keep<T>(&mut self, name: &'static str, task: impl Future<Output = T> + Send + 'static) {
        let finish = self.stop.finish.clone();
        self.tasks.spawn(name, async move {
            tokio::select! {
                _ = task => {}
                () = finish.cancelled() => {}
            }
        });
    }
}

/// What of the cluster's releases is indexed.
fn index(config: &Config) -> releases::Config {
    releases::Config {
        namespaces: config.namespaces.clone(),
        drivers: config.drivers.clone(),
        index_bytes: config.index_bytes,
        ..releases::Config::default()
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let (log, _flush) = logging::start(&config.logging);
    let mut signals = Signals::install()?;
    let audit = audit_log(&config.audit, identity()?)?;
    let mut kept = Kept::default();
    let clients = client_auth(&config, &mut kept)?;
    let api_server = client::connect_twice(&config.target).await?;
    let client = api_server.pooled();
    let live = config.policy.clone().live();
    let role = watch::Sender::<Role>::default();
    let upkeep = upkeep_of(&config, client, &live, &role);
    let first = tokio::select! {
        first = upkeep::begin(&upkeep) => first?,
        _ = signals.next() => return Ok(()),
    };
    warn_of_shown_paths(&config);
    let listener = listen(config.listen).await?;
    let admin_listener = listen(config.admin_listen).await?;
    tracing::info!(
        webhook = %listener.local_addr()?,
        admin = %admin_listener.local_addr()?,
        mode = config.policy.default_mode().as_str(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );

    let standing = Arc::<Standing>::default();
    let (releases, worker) = Releases::new(api_server.clone(), &index(&config));
    kept.keep("release index", worker.run());
    let (events, announcer) = events::queue();
    kept.keep("events", announcer.run(client.clone()));
    let sources = sources(&api_server, &releases, &mut kept);
    if upkeep.target.is_some() {
        let following = Following {
            client: client.clone(),
            releases: releases.clone(),
            definitions: Arc::clone(&sources.crds),
            conversions: Arc::clone(&upkeep.conversions),
            pace: Pace::default(),
        };
        kept.keep("versions", versions::follow(following));
    }

    let admission = admission_policies(client, &mut kept);
    let health = Health {
        releases: releases.clone(),
        serving: Arc::clone(&upkeep.serving),
        registered: upkeep
            .target
            .is_some()
            .then(|| Arc::clone(&upkeep.registered)),
        stop: kept.stop.clone(),
        connections: Arc::default(),
        events,
        policy: Arc::clone(&standing),
        audit: audit.clone(),
        live: Arc::clone(&live),
        admission: Arc::clone(&admission),
        log: log.clone(),
    };
    let forecast = keep_forecast(&config, client, &mut kept)?;
    let recorder = Arc::new(recorder(&config, client, &health, (audit, forecast)));
    let told = Told {
        live: Arc::clone(&live),
        standing: Arc::clone(&standing),
        recorder: Arc::clone(&recorder),
        registered: Arc::clone(&upkeep.registered),
    };
    follow_policy(&config, told, client, &mut kept)?;
    watch_itself(&health, &recorder, &mut kept)?;
    follow_emergencies(&config, (&sources, &live), (&recorder, role), &mut kept)?;
    let Kept { mut tasks, stop } = kept;
    let options = listener_options(&config, &upkeep, clients, &health.connections)?;
    let probes = probes(health, Arc::clone(&recorder));
    tasks.spawn("admin port", admin_port(admin_listener, probes, &stop)?);
    let registering = register_when_ready(
        releases,
        standing,
        upkeep.clone(),
        first,
        stop.finish.clone(),
    );
    tasks.spawn("certificate and registration", registering);

    let webhook = Webhook {
        reviewer: Reviewer {
            sources,
            policy: live,
            redactor: Redactor::new(&key()?),
            conversions: upkeep.conversions.active(),
            own: config.own_release,
            emergencies: Emergencies::Considered,
        },
        emergencies: Box::new(Changes::new(client.clone())),
        recorder,
        intake: Intake::default(),
    };
    let router = handler::router(Arc::new(webhook), Arc::clone(&upkeep.paths));
    let server = accept::serve(listener, router, options, stop.drain.clone());
    let at_exit = config.registration.map(|registration| registration.at_exit);
    let before_close = unregister(&upkeep, at_exit);
    Ok(shutdown::run(server, tasks, &mut signals, &stop, before_close).await?)
}

/// The API server tells whoever is refused while nobody answers which URL it called.
fn warn_of_shown_paths(config: &Config) {
    if config.fail_closed.is_some() && config.clients.is_none() {
        tracing::warn!(
            "namespaces fail closed, and no client certificates are asked for: a refusal while no replica \
             answers shows the secret path of its entry to whoever is refused; see --client-ca-file"
        );
    }
}

fn admin_port(
    listener: TcpListener,
    probes: (Router, Options),
    stop: &Stop,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    admin::serve_on_own_thread(listener, probes, stop.finish.clone())
        .context("failed to start the admin port")
}

/// The client certificates that are asked for, read again as their CA file changes.
fn client_auth(config: &Config, kept: &mut Kept) -> anyhow::Result<Option<Arc<ClientAuth>>> {
    let Some(accepted) = config.clients.clone() else {
        return Ok(None);
    };
    let clients = ClientAuth::read(accepted)?;
    let followed = Arc::clone(&clients);
    kept.keep("CAs of clients", async move { followed.follow().await });
    Ok(Some(clients))
}

/// What the webhook's listener speaks, and within which limits.
fn listener_options(
    config: &Config,
    upkeep: &Upkeep,
    clients: Option<Arc<ClientAuth>>,
    stats: &Arc<accept::Stats>,
) -> anyhow::Result<Options> {
    let tls_options = TlsOptions {
        versions: HttpVersions::of(upkeep.endpoint.as_ref()),
        clients,
    };
    Ok(Options {
        protocol: Protocol::Tls(tls::server_config(&upkeep.serving, tls_options)?),
        limits: Limits {
            drain_delay: config.drain_delay,
            ..Limits::default()
        },
        stats: Arc::clone(stats),
    })
}

/// What the API server keeps while no guard runs.
fn admission_policies(client: &Client, kept: &mut Kept) -> Arc<AdmissionPolicies> {
    let policies = Arc::<AdmissionPolicies>::default();
    let (watched, by) = (Arc::clone(&policies), client.clone());
    kept.keep("admission policies", async move { watched.watch(by).await });
    policies
}

fn watch_itself(health: &Health, recorder: &Arc<Recorder>, kept: &mut Kept) -> anyhow::Result<()> {
    let watchdog = Watchdog::new(health.clone(), Arc::clone(recorder), identity()?);
    kept.keep("watchdog", watchdog.run());
    Ok(())
}

/// Who is told of the policy in force.
struct Told {
    live: Live,
    standing: Arc<Standing>,
    recorder: Arc<Recorder>,
    registered: Arc<Registered>,
}

/// The policy of the file or, without one, the object in the cluster, for as long as the guard runs.
fn follow_policy(
    config: &Config,
    told: Told,
    client: &Client,
    kept: &mut Kept,
) -> anyhow::Result<()> {
    let terms = PolicyTerms {
        grace: config.policy_grace,
        need: config.policy_need,
    };
    let file = config
        .policy_file
        .as_deref()
        .map(policy::read)
        .transpose()?;
    if let Some((_, policy)) = &file {
        told.recorder.alerts.apply(policy.alerts());
        told.live.store(Arc::new(policy.clone()));
    }
    let keeper = Keeper::new(
        told.live,
        told.standing,
        told.recorder,
        told.registered,
        terms,
    );
    match config.policy_file.clone().zip(file) {
        Some((path, (text, _))) => {
            kept.keep("policy", keeper.follow_file(client.clone(), path, text));
        }
        None => kept.keep("policy", keeper.follow_object(client.clone())),
    }
    Ok(())
}

/// What happens to emergency changes, followed by one of the replicas; and alerts, which each sends of
/// what it has seen itself.
fn follow_emergencies(
    config: &Config,
    (sources, policy): (&LiveSources, &Live),
    (recorder, role): (&Arc<Recorder>, watch::Sender<Role>),
    kept: &mut Kept,
) -> anyhow::Result<()> {
    let (alerts, client) = (recorder.alerts.clone(), sources.clients.pooled());
    let finish = kept.stop.finish.clone();
    let sending = end_alerts(alerts.clone(), finish.clone());
    kept.tasks.spawn("alerts", sending);
    let tracker = Tracker {
        client: client.clone(),
        releases: sources.releases.clone(),
        objects: Arc::new(Objects::new(client.clone())),
        recorder: Arc::clone(recorder),
        announce: Arc::new(move |change, kind| alerts.raise_with_receipt(of_change(change, kind))),
        pace: tracker::Pace::default(),
    };
    let tokens = Tokens {
        client: client.clone(),
        policy: Arc::clone(policy),
    };
    let candidate = Candidate {
        client: client.clone(),
        namespace: config.guard_namespace.clone(),
        name: LEASE_NAME.to_owned(),
        identity: identity()?,
        terms: Terms::default(),
        is_led: Arc::clone(&recorder.is_led),
        role,
    };
    kept.tasks.spawn("emergency changes", async move {
        let work = || futures_util::future::join(tracker.run(), tokens.run());
        candidate.lead(work, finish).await;
    });
    Ok(())
}

/// Where reviews find what they have to know, with the watches that keep it up to date.
fn sources(clients: &Clients, releases: &Releases, kept: &mut Kept) -> LiveSources {
    let sources = LiveSources::new(clients, releases);
    let watched = Arc::clone(&sources.crds);
    kept.keep("schemas", async move { watched.watch().await });
    let (watched, by) = (Arc::clone(&sources.namespaces), clients.pooled().clone());
    kept.keep("namespaces", async move { watched.watch(by).await });
    sources
}

fn upkeep_of(
    config: &Config,
    client: &Client,
    policy: &Live,
    role: &watch::Sender<Role>,
) -> Upkeep {
    let endpoint = config
        .registration
        .as_ref()
        .map(|registration| registration.endpoint.clone());
    let namespace = match &endpoint {
        Some(Endpoint::Service { namespace, .. }) => Some(namespace.clone()),
        _ => None,
    };
    let target = endpoint.is_some().then(|| Target {
        client: client.clone(),
    });
    let source = match (&config.tls_files, namespace) {
        (Some(files), _) => Source::Files(files.clone()),
        (None, Some(namespace)) => Source::Secret {
            client: client.clone(),
            namespace,
        },
        (None, None) => Source::Memory,
    };
    Upkeep {
        source,
        endpoint,
        target,
        serving: ServingCertificate::new(),
        registered: Arc::default(),
        paths: Paths::new(),
        conversions: Arc::default(),
        policy: Arc::clone(policy),
        fail_closed: config.fail_closed.clone(),
        role: role.subscribe(),
        installation: config.own_namespace.clone().map(Installation::new),
        takeover: config
            .registration
            .as_ref()
            .map(|registration| registration.takeover)
            .unwrap_or_default(),
        intervals: Intervals::default(),
    }
}

/// A file that cannot be written to is found out here, before anybody relies on it.
fn audit_log(target: &AuditTarget, process: String) -> anyhow::Result<AuditLog> {
    Ok(match target {
        AuditTarget::StandardError => AuditLog::new(process, std::io::stderr()),
        AuditTarget::StandardOutput => {
            AuditLog::new(process, std::io::stdout()).with_fallback(std::io::stderr())
        }
        AuditTarget::File(path, retention) => {
            let file = AuditFile::open(path, *retention)
                .with_context(|| format!("failed to open the audit log {}", path.display()))?;
            AuditLog::new(process, file).with_fallback(std::io::stderr())
        }
    })
}

/// The forecast is for whoever asks in the guard's own namespace. Out of the cluster there is none unless
/// a flag says so.
fn keep_forecast(
    config: &Config,
    client: &Client,
    kept: &mut Kept,
) -> anyhow::Result<Arc<Gathered>> {
    let namespace = match &config.own_namespace {
        Some(namespace) => namespace.clone(),
        None if is_in_pod(config) => client.default_namespace().to_owned(),
        None => {
            tracing::info!(
                "no forecast is kept, for want of a namespace: see --guard-namespace; the audit log \
                 has the same"
            );
            return Ok(Arc::default());
        }
    };
    let gathered = Arc::new(Gathered::wanted());
    let keeper = ForecastKeeper::new(client, &namespace, identity()?, Arc::clone(&gathered));
    let finish = kept.stop.finish.clone();
    kept.tasks.spawn("forecast", keeper.run(finish));
    Ok(gathered)
}

fn is_in_pod(config: &Config) -> bool {
    config.target.kubeconfig.is_none()
        && config.target.context.is_none()
        && std::env::var_os("KUBECONFIG").is_none()
        && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn recorder(
    config: &Config,
    client: &Client,
    health: &Health,
    (audit, forecast): (AuditLog, Arc<Gathered>),
) -> Recorder {
    let figures = health.clone();
    let mut metrics = Metrics::new(config.policy.default_mode(), move || figures.figures());
    let counters = Counters::default();
    counters.register(metrics.registry_mut());
    let alerts = Alerts::new(client.clone(), &config.guard_namespace, counters);
    Recorder {
        metrics,
        audit,
        events: health.events.clone(),
        alerts,
        forecast,
        is_led: Arc::default(),
    }
}

/// What people are told of a change.
fn of_change(change: &EmergencyChange, kind: AlertKind) -> Alert {
    let status = change.status.clone().unwrap_or_default();
    let (spec, now) = (&change.spec, Timestamp::now());
    match kind {
        AlertKind::Overdue => Alert::overdue(spec, now),
        AlertKind::Settled => Alert::settled(spec, status.state, status.revision, now),
        _ => Alert::broke_glass(spec),
    }
}

async fn end_alerts(alerts: Alerts, finish: CancellationToken) {
    finish.cancelled().await;
    alerts.close().await;
}

fn probes(health: Health, recorder: Arc<Recorder>) -> (Router, Options) {
    let admin = Admin {
        checks: Arc::new(move || health.checks()),
        metrics: Arc::new(move || recorder.metrics.encode().unwrap_or_default()),
    };
    let options = Options {
        protocol: Protocol::Plain,
        limits: admin::limits(),
        stats: Arc::default(),
    };
    (admin::router(admin), options)
}

async fn unregister(upkeep: &Upkeep, at_exit: Option<AtExit>) {
    if at_exit != Some(AtExit::Remove) {
        return;
    }
    match upkeep::end(upkeep).await {
        Ok(done) => tracing::info!(?done, "unregistered"),
        Err(error) => tracing::error!(%error, "the registration stays"),
    }
}

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))
}

/// A name that no other replica has, with that of the pod in it for people.
fn identity() -> anyhow::Result<String> {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "helm-guard".to_owned());
    let key = key()?;
    let random = key
        .iter()
        .take(4)
        .fold(0_u32, |random, byte| random << 8 | u32::from(*byte));
    Ok(format!("{host}_{random:08x}"))
}

async fn register_when_ready(
    releases: Releases,
    policy: Arc<Standing>,
    upkeep: Upkeep,
    first: tls::Pair,
    stop: CancellationToken,
) {
    tokio::select! {
        () = async { tokio::join!(health::complete(&releases), policy.known()); } => {}
        () = stop.cancelled() => return,
    }
    let stats = releases.stats();
    tracing::info!(
        releases = stats.releases,
        objects = stats.objects,
        unreadable = stats.unreadable,
        "the index is complete"
    );
    upkeep::keep(upkeep, first, stop).await;
}
