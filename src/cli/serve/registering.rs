//! Certificate and registration, as the flags have them: from the first certificate to the end of the process.

use std::sync::Arc;

use helm_guard_core::policy::Live;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    config::{AtExit, Config},
    health,
    policy::Standing,
};
use crate::{
    cluster::lease::Role,
    releases::Releases,
    webhook::{
        endpoint::Endpoint,
        paths::Paths,
        registration::installation::Installation,
        tls::{self, ServingCertificate},
        upkeep::{self, Intervals, Source, Target, Upkeep},
    },
};

pub(super) fn upkeep_of(
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
        owner: config
            .registration
            .as_ref()
            .and_then(|registration| registration.owner.clone()),
        takeover: config
            .registration
            .as_ref()
            .map(|registration| registration.takeover)
            .unwrap_or_default(),
        intervals: Intervals::default(),
    }
}

pub(super) async fn register_when_ready(
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

pub(super) async fn unregister(upkeep: &Upkeep, at_exit: Option<AtExit>) {
    if at_exit != Some(AtExit::Remove) {
        return;
    }
    match upkeep::end(upkeep).await {
        Ok(done) => tracing::info!(?done, "unregistered"),
        Err(error) => tracing::error!(%error, "the registration stays"),
    }
}
