//! Certificate and registration, from the first certificate to the end of the process.

use std::sync::Arc;

use helm_guard_core::policy::Live;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    config::{AtExit, Config},
    health,
    policy::PolicyStatus,
};
use crate::{
    cluster::lease::Role,
    releases::Releases,
    webhook::{
        endpoint::Endpoint,
        paths::Paths,
        registrar::{self, CertificateSource, Intervals, Registrar},
        registration::installation::Installation,
        tls::{self, ServingCertificate},
    },
};

pub(super) fn registrar_of(
    config: &Config,
    client: &Client,
    policy: &Live,
    role: &watch::Sender<Role>,
) -> Registrar {
    let endpoint = config
        .registration
        .as_ref()
        .map(|registration| registration.endpoint.clone());
    let namespace = match &endpoint {
        Some(Endpoint::Service { namespace, .. }) => Some(namespace.clone()),
        _ => None,
    };
    let source = match (&config.tls_files, namespace) {
        (Some(files), _) => CertificateSource::Files(files.clone()),
        (None, Some(namespace)) => CertificateSource::Secret {
            client: client.clone(),
            namespace,
        },
        (None, None) => CertificateSource::Memory,
    };
    Registrar {
        source,
        client: endpoint.is_some().then(|| client.clone()),
        endpoint,
        serving: ServingCertificate::new(),
        state: Arc::default(),
        paths: Paths::new(),
        conversions: Arc::default(),
        policy: Arc::clone(policy),
        fail_closed: config.fail_closed.clone(),
        foreign: config
            .registration
            .as_ref()
            .map(|registration| registration.foreign.clone())
            .unwrap_or_default(),
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
    policy: Arc<PolicyStatus>,
    registrar: Registrar,
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
    registrar::run(registrar, first, stop).await;
}

pub(super) async fn unregister(registrar: &Registrar, at_exit: Option<AtExit>) {
    if at_exit != Some(AtExit::Remove) {
        return;
    }
    match registrar::unregister(registrar).await {
        Ok(done) => tracing::info!(?done, "unregistered"),
        Err(error) => tracing::error!(%error, "failed to remove the registration"),
    }
}
