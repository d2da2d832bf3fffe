//! Which policy is in force: that of `--policy`, else that of the object in the cluster, else that of
//! the flags.
//!
//! Invariants
//! - An invalid policy never replaces a valid one. The error is in the log, in metrics, and in the object's
//!   status.
//! - If a policy becomes less strict, the sinks of the previous policy get an alert with the changes. A missing
//!   object stays in force until it is certainly gone, see [`crate::cluster::policies`].
//! - The kill switch (`spec.suspend` of the object) takes effect at once, even if the rest of the object is
//!   invalid and wherever the policy comes from.

mod status;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use helm_guard_core::{
    api::{GuardPolicyStatus, policy::alerts::AlertKind},
    policy::{
        Live, Policy, PolicyError,
        document::{self, MAX_BYTES},
        loosening,
        suspension::Suspension,
        tightening,
    },
    text::cut,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Client, api::DynamicObject};

use self::status::{Loaded, Origin};
pub(super) use self::status::{PolicyState, PolicyStatus};
use super::config::PolicyNeed;
use crate::{
    cluster::policies::{self, PolicyWatch, SeenPolicy},
    record::{Recorder, alerts::Alert},
    webhook::registrar::RegistrationState,
};

/// How often the file is read. A mounted `ConfigMap` takes a minute to update anyway.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The longest error in the object's status, in bytes.
const STATUS_BYTES: usize = 4 * 1024;

/// Reads a policy from a file.
pub(super) fn read(path: &Path) -> anyhow::Result<(String, Policy)> {
    let text = text(path)?;
    let policy = compiled(&text).with_context(|| path.display().to_string())?;
    Ok((text, policy))
}

fn text(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let limit = u64::try_from(MAX_BYTES)? + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .with_context(|| format!("failed to read {}", path.display()))?;
    Ok(text)
}

fn compiled(text: &str) -> Result<Policy, PolicyError> {
    Policy::compile(&document::parse(text)?)
}

/// Settings for following the object in the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct PolicyTerms {
    /// How long it must have been absent to count as gone.
    pub(super) grace: Duration,
    /// Whether an object is required.
    pub(super) need: PolicyNeed,
}

/// Keeps the policy in force up to date.
pub(super) struct PolicyKeeper {
    live: Live,
    status: Arc<PolicyStatus>,
    /// Receives alerts, and the sinks of a new policy.
    recorder: Arc<Recorder>,
    /// The registration, which the kill switch removes.
    registered: Arc<RegistrationState>,
    terms: PolicyTerms,
    /// What applies without a `GuardPolicy`.
    flags: Arc<Policy>,
    /// The last valid policy, regardless of the kill switch.
    base: Arc<Policy>,
    /// The last seen kill switch of the object in the cluster.
    switch: Option<Suspension>,
}

impl PolicyKeeper {
    /// Starts with the policy in force now.
    pub(super) fn new(
        live: Live,
        status: Arc<PolicyStatus>,
        recorder: Arc<Recorder>,
        registered: Arc<RegistrationState>,
        terms: PolicyTerms,
    ) -> Self {
        status.set(|state| state.is_required = terms.need == PolicyNeed::Required);
        Self {
            flags: live.load_full(),
            base: live.load_full(),
            live,
            status,
            recorder,
            registered,
            terms,
            switch: None,
        }
    }

    /// Puts a policy in force. `version` identifies it across replicas.
    async fn take(&mut self, policy: Arc<Policy>, loaded: Loaded, version: &str) {
        let before = std::mem::replace(&mut self.base, Arc::clone(&policy));
        let is_first = !self.status.get().has_looked;
        let looser = loosening::between(before.spec(), policy.spec());
        let mut notices = Vec::new();
        if !is_first {
            let now = Timestamp::now();
            if !looser.is_empty() {
                let summary = format!(
                    "the policy in force ({}) is less strict than the previous one: {}",
                    loaded.origin.describe(),
                    looser.join("; ")
                );
                let alert = Alert::of_guard(AlertKind::PolicyLoosened, version, &summary, now);
                notices.push(alert.with_lines(&looser));
            }
            let sinks = loosening::sinks(before.alerts(), policy.alerts());
            if !sinks.is_empty() {
                let summary = format!("alert sinks of the policy: {}", sinks.join("; "));
                let alert = Alert::of_guard(AlertKind::SinksChanged, version, &summary, now);
                notices.push(alert.with_lines(&sinks));
            }
        }
        // First the policy, so that alerts do not delay it.
        let mode = policy.default_mode().as_str();
        tracing::info!(
            origin = loaded.origin.as_str(),
            generation = loaded.generation,
            mode,
            "the policy is in force"
        );
        let overridden = match loaded.origin {
            Origin::Object => tightening::between(self.flags.spec(), policy.spec()),
            Origin::Flags | Origin::File => Vec::new(),
        };
        if !overridden.is_empty() {
            tracing::warn!(
                effect = overridden.join("; "),
                "the GuardPolicy replaces the policy of the flags"
            );
        }
        let less_strict = (loaded.origin == Origin::Flags && !is_first && !looser.is_empty())
            .then(|| looser.join("; "));
        self.status.set(|state| {
            state.loaded = loaded;
            state.less_strict = less_strict;
            state.overridden = overridden;
            state.error = None;
            state.taken += 1;
        });
        notices.extend(self.put());
        self.recorder.replace_sinks(policy.alerts(), notices).await;
        self.status.set(|state| state.has_looked = true);
    }

    /// Rejects a policy; the current one stays in force.
    fn refuse(&self, error: String) {
        tracing::error!(
            error,
            "the policy is invalid; the last valid one stays in force"
        );
        self.status.set(|state| {
            state.has_looked = true;
            state.error = Some(error);
            state.refused += 1;
        });
    }

    /// Puts the last valid policy in force, with the kill switch of the object or the file. Returns an alert
    /// if the switch changed.
    fn put(&self) -> Option<Alert> {
        let before = self.status.get();
        let by_file = (before.loaded.origin == Origin::File)
            .then(|| self.base.spec())
            .and_then(Suspension::of);
        let suspension = self.switch.clone().or(by_file);
        let is_on = suspension.is_some();
        self.live
            .store(if self.base.suspension() == suspension.as_ref() {
                Arc::clone(&self.base)
            } else {
                Arc::new(self.base.with_suspension(suspension.clone()))
            });
        self.registered.suspend(is_on);
        let summary = match &suspension {
            Some(suspension) => format!("the guard is suspended: {suspension}"),
            None => "the guard evaluates requests again".to_owned(),
        };
        self.status.set(|state| state.suspension = suspension);
        if is_on == before.suspension.is_some() {
            return None;
        }
        let alert = Alert::of_guard(AlertKind::Suspended, "", &summary, Timestamp::now());
        Some(if is_on {
            alert.until_resolved()
        } else {
            alert.resolved()
        })
    }

    /// Sets the kill switch to that of the object. Its alert is sent first, before others about the object. At
    /// the first read no sinks are known yet, so the alert is returned.
    async fn set_switch(&mut self, switch: Option<Suspension>) -> Option<Alert> {
        self.switch = switch;
        let notice = self.put()?;
        if self.status.get().has_looked {
            self.recorder.notice(notice).await;
            return None;
        }
        Some(notice)
    }

    /// Follows a file, starting with the text that was read at startup, and the kill switch of the object in the
    /// cluster. Does not return.
    pub(super) async fn follow_file(mut self, client: Client, path: PathBuf, mut last: String) {
        self.status.set(|state| state.loaded.origin = Origin::File);
        if let Some(notice) = self.put() {
            self.recorder.notice(notice).await;
        }
        let mut watch = PolicyWatch::new(client, self.terms.grace);
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        let (mut unread, mut failing) = (None, None);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.reload(&path, &mut last, &mut unread).await,
                seen = watch.next() => match seen {
                    Some(seen) => self.update_switch(seen, &mut failing).await,
                    None => return,
                },
            }
        }
    }

    /// Reads the file again. `unread` is the last reported read error.
    async fn reload(&mut self, path: &Path, last: &mut String, unread: &mut Option<String>) {
        match text(path) {
            Ok(text) if text == *last => {
                if unread.take().is_some() {
                    self.status.set(|state| state.error = None);
                }
            }
            Ok(text) => {
                *unread = None;
                match compiled(&text) {
                    Ok(policy) => {
                        let version = format!("file/{}", self.status.get().taken);
                        let loaded = Loaded::from(Origin::File);
                        self.take(Arc::new(policy), loaded, &version).await;
                    }
                    Err(error) => self.refuse(format!("{}: {error}", path.display())),
                }
                *last = text;
            }
            // Reported once, and not at every read.
            Err(error) => {
                let error = format!("{error:#}");
                if unread.as_ref() != Some(&error) {
                    self.refuse(error.clone());
                    *unread = Some(error);
                }
            }
        }
    }

    /// With a policy file, only the kill switch of the object is used.
    async fn update_switch(&mut self, seen: SeenPolicy, failing: &mut Option<String>) {
        let notice = match seen {
            SeenPolicy::Object(object) => {
                let spec = object.data.get("spec").unwrap_or(&serde_json::Value::Null);
                self.set_switch(Suspension::in_document(spec)).await
            }
            SeenPolicy::Absent => self.set_switch(None).await,
            SeenPolicy::Missing => None,
            SeenPolicy::Unknown(failure) => return self.unknown(&failure, failing),
        };
        *failing = None;
        self.status.set(|state| state.has_looked = true);
        if let Some(notice) = notice {
            self.recorder.notice(notice).await;
        }
    }

    /// Follows the object in the cluster. Does not return.
    pub(super) async fn follow_object(mut self, client: Client) {
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

    fn unknown(&self, failure: &crate::cluster::ApiFailure, failing: &mut Option<String>) {
        // Without the permission to read the object, there is nothing to wait for.
        if failure.is_forbidden() {
            self.status.set(|state| state.has_looked = true);
        }
        let text = failure.to_string();
        if failing.as_ref() != Some(&text) {
            tracing::warn!(error = text, "failed to watch the policy, retrying");
            *failing = Some(text);
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

#[cfg(test)]
mod tests;
