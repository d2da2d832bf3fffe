//! `helm-guard serve`: starts the modules in the order of their dependencies.
//!
//! 1. Certificate and sockets: permanent errors show here, with exit code 1.
//! 2. The index fills. Early reviews are answered from the part that is read.
//! 3. The registration is written once the index is complete, so that the API server only calls a
//!    guard that knows the releases.
//! 4. On a signal, or if a required task ends, the process drains.

pub(super) mod args;
pub(super) mod config;
mod emergencies;
mod health;
mod listeners;
mod logging;
mod policy;
mod readings;
mod recording;
mod registering;
mod scanning;
mod tasks;
mod watchdog;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use helm_guard_core::{compare::redact::Redactor, policy::Live};
use kube::Client;
use tokio::sync::watch;

use self::{
    config::Config,
    emergencies::{LedWork, emergency_records, follow_emergencies},
    health::Health,
    listeners::{admin_port, client_auth, listen, listener_options, probes, warn_of_shown_paths},
    policy::{PolicyKeeper, PolicyStatus, PolicyTerms},
    recording::{audit_log, identity, keep_forecast, recorder},
    registering::{register_when_ready, registrar_of, unregister},
    scanning::leader_scan,
    tasks::BackgroundTasks,
    watchdog::Watchdog,
};
use super::{
    live_sources::LiveSources,
    process::{install_crypto, key},
};
use crate::{
    cluster::{Clients, admission::AdmissionPolicies, client, lease::Role},
    record::{Recorder, events},
    releases::{self, Releases},
    review::{Emergencies, Reviewer},
    webhook::{
        accept,
        handler::{self, Webhook},
        intake::Intake,
        registrar::{self, Registrar, RegistrationState},
        shutdown::{self, Signals},
        versions::{self, DiscoveryIntervals, Following},
    },
};

/// Threads for blocking work, in addition to one for each worker.
const OTHER_THREADS: usize = 2;

/// Runs until a signal.
pub(super) fn run(args: args::Serve) -> anyhow::Result<()> {
    let config = Config::resolve(args)?;
    install_crypto();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads.get())
        // Blocking threads keep their memory, so they end early. Their tasks are short: decoding records
        // and reading files.
        .max_blocking_threads(config.worker_threads.get() + OTHER_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let (log, _flush) = logging::start(&config.logging);
    let mut signals = Signals::install()?;
    let audit = audit_log(&config.audit, identity()?)?;
    let mut background = BackgroundTasks::default();
    let clients = client_auth(&config, &mut background)?;
    let api_server = client::connect_twice(&config.target).await?;
    let client = api_server.pooled();
    let live = config.policy.clone().live();
    let role = watch::Sender::<Role>::default();
    let registrar = registrar_of(&config, client, &live, &role);
    let first = tokio::select! {
        first = registrar::start(&registrar) => first?,
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

    let status = Arc::<PolicyStatus>::default();
    let (releases, worker) = Releases::new(api_server.clone(), &index(&config));
    background.spawn_until_drained("release index", worker.run());
    let (events, announcer) = events::queue();
    background.spawn_until_drained("events", announcer.run(client.clone()));
    let sources = sources(&api_server, &releases, &mut background);
    if registrar.client.is_some() {
        follow_versions(&sources, &registrar, &mut background);
    }
    let admission = admission_policies(client, &mut background);
    let health = Health {
        releases: releases.clone(),
        serving: Arc::clone(&registrar.serving),
        registered: registrar
            .client
            .is_some()
            .then(|| Arc::clone(&registrar.state)),
        stop: background.stop.clone(),
        connections: Arc::default(),
        events,
        policy: Arc::clone(&status),
        audit: audit.clone(),
        live: Arc::clone(&live),
        admission: Arc::clone(&admission),
        log: log.clone(),
        drift: Arc::default(),
    };
    let forecast = keep_forecast(&config, client, &mut background)?;
    let recorder = Arc::new(recorder(&config, client, &health, (audit, forecast)));
    let told = PolicyAudience {
        live: Arc::clone(&live),
        status: Arc::clone(&status),
        recorder: Arc::clone(&recorder),
        registered: Arc::clone(&registrar.state),
    };
    follow_policy(&config, told, client, &mut background)?;
    watch_itself(&health, &recorder, &mut background)?;
    let scan = leader_scan(&config, &sources, &health, &recorder)?;
    let led = LedWork::new((&sources, &live), &recorder, scan);
    follow_emergencies(&config, led, (&recorder, role), &mut background)?;
    let changes = emergency_records(client, &mut background);
    let BackgroundTasks { mut tasks, stop } = background;
    let options = listener_options(&config, &registrar, clients, &health.connections)?;
    let probes = probes(health, Arc::clone(&recorder));
    tasks.spawn("admin port", admin_port(admin_listener, probes, &stop)?);
    let registering = register_when_ready(
        releases,
        status,
        registrar.clone(),
        first,
        stop.finish.clone(),
    );
    tasks.spawn("certificate and registration", registering);

    let webhook = Webhook {
        reviewer: Reviewer {
            sources,
            policy: live,
            redactor: Redactor::new(&key()?),
            conversions: registrar.conversions.active(),
            own: config.own_release,
            emergencies: Emergencies::Considered,
        },
        emergencies: Box::new(changes),
        recorder,
        intake: Intake::default(),
    };
    let router = handler::router(Arc::new(webhook), Arc::clone(&registrar.paths));
    let server = accept::serve(listener, router, options, stop.drain.clone());
    let at_exit = config.registration.map(|registration| registration.at_exit);
    let before_close = unregister(&registrar, at_exit);
    Ok(shutdown::run(server, tasks, &mut signals, &stop, before_close).await?)
}

/// Follows the versions that releases declare objects in, so that API servers convert objects to them.
fn follow_versions(sources: &LiveSources, registrar: &Registrar, background: &mut BackgroundTasks) {
    let following = Following {
        client: sources.clients.pooled().clone(),
        releases: sources.releases.clone(),
        crds: Arc::clone(&sources.crds),
        conversions: Arc::clone(&registrar.conversions),
        pace: DiscoveryIntervals::default(),
    };
    background.spawn_until_drained("versions", versions::follow(following));
}

/// Watches the admission policies, which hold while no guard runs.
fn admission_policies(client: &Client, background: &mut BackgroundTasks) -> Arc<AdmissionPolicies> {
    let policies = Arc::<AdmissionPolicies>::default();
    let (watched, by) = (Arc::clone(&policies), client.clone());
    background.spawn_until_drained("admission policies", async move { watched.watch(by).await });
    policies
}

fn watch_itself(
    health: &Health,
    recorder: &Arc<Recorder>,
    background: &mut BackgroundTasks,
) -> anyhow::Result<()> {
    let watchdog = Watchdog::new(health.clone(), Arc::clone(recorder), identity()?);
    background.spawn_until_drained("watchdog", watchdog.run());
    Ok(())
}

/// The recipients of policy changes.
struct PolicyAudience {
    live: Live,
    status: Arc<PolicyStatus>,
    recorder: Arc<Recorder>,
    registered: Arc<RegistrationState>,
}

/// Follows the policy file or, without one, the object in the cluster.
fn follow_policy(
    config: &Config,
    told: PolicyAudience,
    client: &Client,
    background: &mut BackgroundTasks,
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
    let keeper = PolicyKeeper::new(
        told.live,
        told.status,
        told.recorder,
        told.registered,
        terms,
    );
    match config.policy_file.clone().zip(file) {
        Some((path, (text, _))) => {
            background
                .spawn_until_drained("policy", keeper.follow_file(client.clone(), path, text));
        }
        None => background.spawn_until_drained("policy", keeper.follow_object(client.clone())),
    }
    Ok(())
}

/// The configuration of the index.
fn index(config: &Config) -> releases::Config {
    releases::Config {
        namespaces: config.namespaces.clone(),
        drivers: config.drivers.clone(),
        index_bytes: config.index_bytes,
        ..releases::Config::default()
    }
}

/// The sources of reviews, and the watches that update them.
fn sources(
    clients: &Clients,
    releases: &Releases,
    background: &mut BackgroundTasks,
) -> LiveSources {
    let sources = LiveSources::new(clients, releases);
    let watched = Arc::clone(&sources.crds);
    background.spawn_until_drained("schemas", async move { watched.watch().await });
    let (watched, by) = (Arc::clone(&sources.namespaces), clients.pooled().clone());
    background.spawn_until_drained("namespaces", async move { watched.watch(by).await });
    sources
}
