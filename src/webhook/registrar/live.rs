//! Watches the registration in the cluster, so that changes by others are corrected, and its paths
//! accepted, at once.
//!
//! If it cannot be watched, it is still read from time to time.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::Notify, time::sleep};

use super::Registrar;
use crate::webhook::registration::CONFIGURATION_NAME;

/// Reports changes of the registration.
#[derive(Debug, Default)]
pub(super) struct Changes(Notify);

impl Changes {
    /// Returns after the next change. Changes within `pause` are combined.
    pub(super) async fn changed(&self, pause: Duration) {
        self.0.notified().await;
        sleep(pause).await;
    }

    /// Watches forever, if there is something to register.
    pub(super) async fn follow(&self, registrar: &Registrar) {
        let Some(client) = registrar.client.clone() else {
            return std::future::pending().await;
        };
        let api: Api<ValidatingWebhookConfiguration> = Api::all(client);
        let config =
            watcher::Config::default().fields(&format!("metadata.name={CONFIGURATION_NAME}"));
        let events = watcher(api, config).default_backoff();
        pin_mut!(events);
        let mut is_failing = false;
        while let Some(event) = events.next().await {
            let now = Instant::now();
            match event {
                Ok(Event::Apply(live) | Event::InitApply(live)) => {
                    registrar.paths.observe(Some(&live), now);
                    self.0.notify_one();
                }
                Ok(Event::Delete(_)) => {
                    registrar.paths.observe(None, now);
                    self.0.notify_one();
                }
                Ok(Event::Init | Event::InitDone) => is_failing = false,
                Err(error) if is_failing => {
                    tracing::debug!(%error, "failed to watch the registration");
                }
                Err(error) => {
                    is_failing = true;
                    tracing::warn!(%error, "failed to watch the registration, reading it every minute");
                }
            }
        }
    }
}
