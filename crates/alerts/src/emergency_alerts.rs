//! Alerts about emergency changes that this replica sends itself: those without a stored record, and all of
//! them while no replica leads. The leader sends the others, from the records (its tracker).
//!
//! Invariants
//! - An identity that makes very many changes raises one alert for each up to the policy's rate, and one for
//!   all others in each window.
//! - Grouped changes are always sent: when the window is over ([`EmergencyAlerts::due`]), or when the process
//!   ends ([`EmergencyAlerts::rest`]).
//!
//! Start at [`EmergencyAlerts::changed`].

use std::collections::{HashMap, VecDeque};

use helm_guard_core::{
    api::{
        EmergencyChangeSpec,
        policy::alerts::{AlertKind, AlertRate},
    },
    breakglass::retried::{RETRY_WINDOW, content},
};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{
    Alert,
    summary::{ChangeSummary, Trace},
};

/// Identities that are counted at a time. They are those of the policy, and members of its groups.
const IDENTITIES: usize = 1024;

/// The recent changes of each identity.
#[derive(Debug, Default)]
pub struct EmergencyAlerts(Mutex<HashMap<String, Identity>>);

#[derive(Debug)]
struct Identity {
    /// The last changes: time and operation.
    recent: VecDeque<(Timestamp, Option<String>)>,
    /// The changes to be grouped in one alert.
    together: ChangeSummary,
    /// When the last group was sent.
    told: Option<Timestamp>,
}

impl EmergencyAlerts {
    /// Counts a change. Returns the alert to send at once, if any.
    pub fn changed(
        &self,
        change: &EmergencyChangeSpec,
        trace: Trace,
        rate: AlertRate,
    ) -> Option<Alert> {
        let now = change.at.0;
        let mut identities = self.0.lock();
        if !identities.contains_key(&change.user) && identities.len() >= IDENTITIES {
            identities.retain(|_, identity| !identity.is_idle(now, rate));
            if identities.len() >= IDENTITIES {
                return Some(Alert::break_glass(change));
            }
        }
        let identity = identities
            .entry(change.user.clone())
            .or_insert_with(|| Identity {
                recent: VecDeque::new(),
                together: ChangeSummary::of(&change.user),
                told: None,
            });
        let what = content(change);
        if identity.is_retry(what.as_ref(), now) {
            return None;
        }
        if identity.is_within(rate, now, what) {
            return Some(Alert::break_glass(change));
        }
        identity.together.add(change, trace);
        identity.due(rate, now)
    }

    /// The groups whose window is over.
    pub fn due(&self, rate: AlertRate, now: Timestamp) -> Vec<Alert> {
        let mut identities = self.0.lock();
        let due = identities.values_mut();
        due.filter_map(|identity| identity.due(rate, now)).collect()
    }

    /// All remaining groups.
    pub fn rest(&self, rate: AlertRate, now: Timestamp) -> Vec<Alert> {
        let mut identities = self.0.lock();
        let rest = identities.values_mut();
        rest.filter_map(|identity| identity.take_group(rate, now))
            .collect()
    }
}

impl Identity {
    fn is_retry(&self, what: Option<&String>, now: Timestamp) -> bool {
        what.is_some()
            && self.recent.iter().any(|(at, known)| {
                known.as_ref() == what && now.duration_since(*at).abs() <= RETRY_WINDOW
            })
    }

    /// Counts a change. Returns whether it gets an alert of its own.
    fn is_within(&mut self, rate: AlertRate, now: Timestamp, what: Option<String>) -> bool {
        let above = usize::try_from(rate.above).unwrap_or(usize::MAX);
        let before = self.recent.iter().rev().nth(above.saturating_sub(1));
        let is_within = before.is_none_or(|(at, _)| now.duration_since(*at) >= rate.within.get());
        self.recent.push_back((now, what));
        while self.recent.len() > above {
            self.recent.pop_front();
        }
        is_within
    }

    fn due(&mut self, rate: AlertRate, now: Timestamp) -> Option<Alert> {
        let is_due = |told: Timestamp| now.duration_since(told) >= rate.within.get();
        self.told
            .is_none_or(is_due)
            .then(|| self.take_group(rate, now))?
    }

    fn take_group(&mut self, rate: AlertRate, now: Timestamp) -> Option<Alert> {
        if self.together.is_empty() {
            return None;
        }
        let alert = self.together.alert(AlertKind::BreakGlass, rate, now);
        self.together = self.together.emptied();
        self.told = Some(now);
        Some(alert)
    }

    fn is_idle(&self, now: Timestamp, rate: AlertRate) -> bool {
        let is_past = |at: Timestamp| now.duration_since(at) >= rate.within.get().max(RETRY_WINDOW);
        let last = self.recent.back().map(|(at, _)| *at);
        self.together.is_empty() && last.max(self.told).is_none_or(is_past)
    }
}

#[cfg(test)]
mod tests;
