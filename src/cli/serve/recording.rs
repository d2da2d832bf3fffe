//! Where answers are recorded: metrics, audit lines, events, alerts and the forecast.

use std::sync::Arc;

use anyhow::Context;
use kube::Client;

use super::{
    config::{AuditTarget, Config},
    health::Health,
    tasks::BackgroundTasks,
};
use crate::{
    cli::process::key,
    record::{
        Recorder,
        alerts::{Alerts, Counters},
        audit::{AuditLog, file::AuditFile},
        emergency_alerts::EmergencyAlerts,
        forecast::{Collector, publisher::Publisher},
        metrics::Metrics,
        own_secrets::OwnSecrets,
    },
};

pub(super) fn recorder(
    config: &Config,
    client: &Client,
    health: &Health,
    (audit, forecast): (AuditLog, Arc<Collector>),
) -> Recorder {
    let read = health.clone();
    let mut metrics = Metrics::new(move || read.readings());
    let counters = Counters::default();
    counters.register(metrics.registry_mut());
    let secrets = OwnSecrets {
        client: client.clone(),
        namespace: config.guard_namespace.clone(),
    };
    let alerts = Alerts::new(secrets, counters);
    Recorder {
        metrics,
        audit,
        events: health.events.clone(),
        alerts,
        emergency_alerts: EmergencyAlerts::default(),
        forecast,
        is_led: Arc::default(),
    }
}

/// Opens the audit log at startup, so that a file that is not writable fails early.
pub(super) fn audit_log(target: &AuditTarget, process: String) -> anyhow::Result<AuditLog> {
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

/// Writes the forecast to the guard's own namespace. Outside a cluster, only if a flag sets the namespace.
pub(super) fn keep_forecast(
    config: &Config,
    client: &Client,
    background: &mut BackgroundTasks,
) -> anyhow::Result<Arc<Collector>> {
    let namespace = match &config.own_namespace {
        Some(namespace) => namespace.clone(),
        None if is_in_pod(config) => client.default_namespace().to_owned(),
        None => {
            tracing::info!(
                "no forecast is kept, because the namespace is unknown (--guard-namespace); the audit log \
                 has the same data"
            );
            return Ok(Arc::default());
        }
    };
    let gathered = Arc::new(Collector::counting());
    let publisher = Publisher::new(client, &namespace, identity()?, Arc::clone(&gathered));
    let finish = background.stop.finish.clone();
    background.tasks.spawn("forecast", publisher.run(finish));
    Ok(gathered)
}

fn is_in_pod(config: &Config) -> bool {
    config.target.kubeconfig.is_none()
        && config.target.context.is_none()
        && std::env::var_os("KUBECONFIG").is_none()
        && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// A unique name of this replica, which contains the name of the pod.
pub(super) fn identity() -> anyhow::Result<String> {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "helm-guard".to_owned());
    let key = key()?;
    let random = key
        .iter()
        .take(4)
        .fold(0_u32, |random, byte| random << 8 | u32::from(*byte));
    Ok(format!("{host}_{random:08x}"))
}
