//! Alert sinks, compiled: their addresses, headers and bodies are valid.
//!
//! Invariants
//! - The value of a Secret never goes over plain HTTP: a sink that names one has an `https` address.
//! - A [`Template`](template::Template) always renders to JSON, whatever the values are.
//! - Nothing here holds the value of a Secret, only where it is stored.
//!
//! Start at [`AlertSettings::compile`].

mod sink;
pub mod target;
pub mod template;

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;

use self::sink::shortened;
pub use self::sink::{Address, AlertFormat, HeaderSource, Sink, SinkError};
use crate::api::{
    Span,
    policy::alerts::{self as api, AlertRate},
};

/// The most sinks of a policy. Each has its own task and queue.
const SINKS: usize = 16;

/// The most denials that are counted: each is remembered for the whole window.
const DENIALS: u32 = 10_000;

/// The default number of emergency changes of one identity that have an alert each, and its window.
const BREAK_GLASS: AlertRate = AlertRate {
    above: 20,
    within: Span::seconds(600),
};

/// Drift is repaired within half a working day, or somebody has to be told.
const DRIFT_OVER: Span = Span::hours(4);

/// The most emergency changes that may have an alert each.
const ALONE: u32 = 1_000;

/// The longest wait of emergency changes for their common alert.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// The alerts of a policy, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertSettings {
    /// Where alerts go, by name.
    pub sinks: Vec<Arc<Sink>>,
    /// The rate of denials that raises an alert.
    pub denials: Option<AlertRate>,
    /// The number of emergency changes of one identity beyond which they share an alert, and its window.
    pub break_glass: Option<AlertRate>,
    /// The age of drift that raises an alert.
    pub drift_over: Option<Span>,
    /// The address of the runbook that alerts link to.
    pub runbook_url: Option<String>,
}

/// Invalid alerts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertsError {
    /// More sinks than there may be.
    #[error("failed to read spec.alerts.sinks: there are more than {SINKS}")]
    TooMany,
    /// Two sinks with the same name.
    #[error("failed to read spec.alerts.sinks: there are two with the name {0:?}")]
    Twice(String),
    /// A rate out of bounds.
    #[error("failed to read spec.alerts.denials.above: it must be from 1 to {DENIALS}")]
    Denials,
    /// A grouping of emergency changes that would delay alerts for too long, or flood the sinks.
    #[error(
        "failed to read spec.alerts.breakGlass: above must be from 1 to {ALONE}, within at most 24h"
    )]
    BreakGlass,
    /// A sink of the list cannot be used.
    #[error("failed to read the sink {name:?} of spec.alerts: {source}")]
    Sink {
        /// The name of the sink in the policy.
        name: String,
        /// What is wrong with it.
        #[source]
        source: SinkError,
    },
}

impl AlertSettings {
    /// Compiles the alerts of a policy. `runbook_url` is the policy's own.
    pub fn compile(alerts: &api::Alerts, runbook_url: Option<&str>) -> Result<Self, AlertsError> {
        if alerts.sinks.len() > SINKS {
            return Err(AlertsError::TooMany);
        }
        if let Some(rate) = alerts.denials
            && !(1..=DENIALS).contains(&rate.above)
        {
            return Err(AlertsError::Denials);
        }
        if let Some(rate) = alerts.break_glass
            && !((1..=ALONE).contains(&rate.above) && rate.within.get() <= LONGEST_WAIT)
        {
            return Err(AlertsError::BreakGlass);
        }
        let mut names = BTreeSet::new();
        let mut sinks = Vec::with_capacity(alerts.sinks.len());
        for sink in &alerts.sinks {
            if !names.insert(&sink.name) {
                return Err(AlertsError::Twice(shortened(&sink.name)));
            }
            let compiled = Sink::compile(sink).map_err(|source| AlertsError::Sink {
                name: shortened(&sink.name),
                source,
            })?;
            sinks.push(Arc::new(compiled));
        }
        Ok(Self {
            sinks,
            denials: alerts.denials,
            break_glass: alerts.break_glass,
            drift_over: alerts.drift_over,
            runbook_url: runbook_url.map(str::to_owned),
        })
    }

    /// The number of emergency changes of one identity beyond which they share an alert.
    pub fn break_glass_rate(&self) -> AlertRate {
        self.break_glass.unwrap_or(BREAK_GLASS)
    }

    /// The age of drift that raises an alert.
    pub fn drift_over(&self) -> Span {
        self.drift_over.unwrap_or(DRIFT_OVER)
    }
}

#[cfg(test)]
mod tests;
