//! The listeners: the webhook with TLS, and the admin port with probes and metrics.

use std::{future::Future, net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;

use super::{config::Config, health::Health, tasks::BackgroundTasks};
use crate::{
    record::Recorder,
    webhook::{
        accept::{self, ConnectionLimits, Options, Protocol},
        admin::{self, Admin},
        registrar::Registrar,
        shutdown::Stop,
        tls::{self, HttpVersions, TlsOptions, client_auth::ClientAuth},
    },
};

/// While no replica answers, the API server shows the called URL to users whose requests it denies.
pub(super) fn warn_of_shown_paths(config: &Config) {
    if config.fail_closed.is_some() && config.clients.is_none() {
        tracing::warn!(
            "namespaces fail closed, and no client certificates are asked for: a refusal while no replica \
             answers shows the secret path of its entry to whoever is refused; see --client-ca-file"
        );
    }
}

/// The accepted client certificates. Their CA file is reloaded when it changes.
pub(super) fn client_auth(
    config: &Config,
    background: &mut BackgroundTasks,
) -> anyhow::Result<Option<Arc<ClientAuth>>> {
    let Some(accepted) = config.clients.clone() else {
        return Ok(None);
    };
    let clients = ClientAuth::read(accepted)?;
    let followed = Arc::clone(&clients);
    background.spawn_until_drained("CAs of clients", async move { followed.follow().await });
    Ok(Some(clients))
}

/// Protocols and limits of the webhook's listener.
pub(super) fn listener_options(
    config: &Config,
    registrar: &Registrar,
    clients: Option<Arc<ClientAuth>>,
    stats: &Arc<accept::Stats>,
) -> anyhow::Result<Options> {
    let tls_options = TlsOptions {
        versions: HttpVersions::of(registrar.endpoint.as_ref()),
        clients,
    };
    Ok(Options {
        protocol: Protocol::Tls(tls::server_config(&registrar.serving, tls_options)?),
        limits: ConnectionLimits {
            drain_delay: config.drain_delay,
            ..ConnectionLimits::default()
        },
        stats: Arc::clone(stats),
    })
}

pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))
}

pub(super) fn admin_port(
    listener: TcpListener,
    probes: (Router, Options),
    stop: &Stop,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    admin::serve_on_own_thread(listener, probes, stop.finish.clone())
        .context("failed to start the admin port")
}

pub(super) fn probes(health: Health, recorder: Arc<Recorder>) -> (Router, Options) {
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
