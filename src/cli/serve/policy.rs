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
//!
//! Start at [`PolicyKeeper`]: it is fed [by a file](by_file) or [by the object](by_object).

mod by_file;
mod by_object;
mod status;

use std::{sync::Arc, time::Duration};

use helm_guard_core::{
    api::policy::alerts::AlertKind,
    policy::{Live, Policy, loosening, suspension::Suspension, tightening},
};
use jiff::Timestamp;

use self::status::{Loaded, Origin};
pub(super) use self::{
    by_file::read,
    status::{PolicyState, PolicyStatus},
};
use super::config::PolicyNeed;
use crate::{
    record::{Recorder, alerts::Alert},
    webhook::registrar::RegistrationState,
};

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
}

#[cfg(test)]
mod tests;
