//! A policy from the `GuardPolicy` in the cluster, and the status that each guard writes to it.

use std::sync::Arc;

use helm_guard_core::{
    api::{GuardPolicyStatus, policy::alerts::AlertKind},
    policy::{Policy, document, suspension::Suspension},
    text::cut,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Client, api::DynamicObject};

use super::{
    PolicyKeeper,
    status::{Loaded, Origin},
};
use crate::{
    cli::serve::config::PolicyNeed,
    cluster::policies::{self, PolicyWatch, SeenPolicy},
    record::alerts::Alert,
};

/// The longest error in the object's status, in bytes.
const STATUS_BYTES: usize = 4 * 1024;

impl PolicyKeeper {
    /// Follows the object in the cluster. Does not return.
    pub(in crate::cli::serve) async fn follow_object(mut self, client: Client) {
        let flags = Arc::clone(&self.base);
        let mut watch = PolicyWatch::new(client.clone(), self.terms.grace);
        let mut failing = None;
        while let Some(seen) = watch.next().await {
            match seen {
                SeenPolicy::Object(object) => self.found(&client, &object).await,
                SeenPolicy::Missing => self.missing().await,
                SeenPolicy::Absent => self.absent(&flags).await,
                SeenPolicy::Unknown(failure) => {
                    self.unknown(&failure, &mut failing);
                    continue;
                }
            }
            failing = None;
        }
    }

    async fn found(&mut self, client: &Client, object: &DynamicObject) {
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let notice = self.set_switch(Suspension::in_document(&spec)).await;
        self.apply(client, object, &spec).await;
        if let Some(notice) = notice {
            self.recorder.notice(notice).await;
        }
        let was_missing = self
            .status
            .set(|state| std::mem::take(&mut state.is_missing));
        if was_missing {
            let alert = missing_alert("the GuardPolicy exists again");
            self.recorder.notice(alert.resolved()).await;
        }
    }

    /// The object is missing. The policy stays in force, and an alert is sent.
    async fn missing(&mut self) {
        self.status.set(|state| state.is_missing = true);
        let summary = format!(
            "the GuardPolicy is missing; the last valid one stays in force {}",
            match self.terms.need {
                PolicyNeed::Required => "until it exists again".to_owned(),
                PolicyNeed::Optional => format!(
                    "until it has been absent for {:?}, then the flags apply",
                    self.terms.grace
                ),
            }
        );
        let alert = missing_alert(&summary);
        self.recorder.notice(alert.until_resolved()).await;
    }

    /// The object is certainly gone, or never existed.
    async fn absent(&mut self, flags: &Arc<Policy>) {
        let state = self.status.get();
        if state.loaded.origin == Origin::Object && self.terms.need == PolicyNeed::Required {
            return;
        }
        let notice = self.set_switch(None).await;
        if state.loaded.origin != Origin::Flags || state.error.is_some() {
            self.take(Arc::clone(flags), Loaded::from(Origin::Flags), "flags")
                .await;
        }
        self.status.set(|state| {
            state.has_looked = true;
            state.is_missing = false;
        });
        if let Some(notice) = notice {
            self.recorder.notice(notice).await;
        }
    }

    async fn apply(&mut self, client: &Client, object: &DynamicObject, spec: &serde_json::Value) {
        let generation = object.metadata.generation.unwrap_or_default();
        let loaded = Loaded {
            origin: Origin::Object,
            generation,
            uid: object.metadata.uid.clone().unwrap_or_default(),
        };
        let policy = document::spec(spec).and_then(|spec| Policy::compile(&spec));
        let mut error = String::new();
        match policy {
            Ok(policy) => {
                let state = self.status.get();
                if state.loaded != loaded || state.error.is_some() {
                    let version = format!("{}/{generation}", loaded.uid);
                    self.take(Arc::new(policy), loaded, &version).await;
                }
            }
            Err(refused) => {
                error = refused.to_string();
                cut(&mut error, STATUS_BYTES);
                let is_new = self.status.get().error.as_ref() != Some(&error);
                if is_new {
                    self.refuse(error.clone());
                }
            }
        }
        let status = GuardPolicyStatus {
            observed_generation: generation,
            in_force: error.is_empty(),
            error,
            since: Some(Time(Timestamp::now())),
        };
        if has_other_status(object, &status)
            && let Err(error) = policies::set_status(client.clone(), &status).await
        {
            tracing::warn!(%error, "failed to write the status of the policy");
        }
    }
}

fn missing_alert(summary: &str) -> Alert {
    Alert::of_guard(AlertKind::PolicyMissing, "", summary, Timestamp::now())
}

/// Whether the object has another status. Each replica writes the status, but only if it differs.
fn has_other_status(object: &DynamicObject, status: &GuardPolicyStatus) -> bool {
    let written = object.data.get("status").cloned();
    let written: Option<GuardPolicyStatus> =
        written.and_then(|status| serde_json::from_value(status).ok());
    written.is_none_or(|written| {
        GuardPolicyStatus {
            since: None,
            ..written
        } != GuardPolicyStatus {
            since: None,
            ..status.clone()
        }
    })
}
