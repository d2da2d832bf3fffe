//! Alerts and tickets: notifies the sinks of the policy.
//!
//! [`Alerts::raise`] puts an [`Alert`] into the queue of each sink that wants its kind, and returns. Each
//! sink has a task of its own ([`worker`]) that renders, sends and retries.
//!
//! Invariants
//! - Raising never waits: a sink that is down delays no request.
//! - Every lost alert is counted: one that does not fit the queue, is a duplicate, or cannot be delivered has
//!   its own [`AlertOutcome`].
//! - Requests only go where the policy says: no redirect is followed, no proxy is used, and only the status
//!   and `Retry-After` of an answer are read.
//! - No address, header or key is in a log line, an error or a metric: they name sinks only.
//!
//! Start at [`Alerts`].

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![warn(unreachable_pub)]

pub mod alert;
pub mod counters;
mod drift;
pub mod emergency_alerts;
mod own;
mod post;
mod rate;
mod receipt;
mod render;
pub mod secrets;
pub mod summary;
mod worker;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use helm_guard_core::{
    api::{
        policy::alerts::{AlertKind, AlertRate},
        reported::ReportedObject,
    },
    policy::alerts::{AlertSettings, Sink, template::AlertDetail},
};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    alert::{Alert, Tampering},
    counters::{AlertOutcome, Counters},
    drift::DriftedRelease,
    receipt::{Delivery, Receipt},
    render::AlertDocument,
    secrets::SecretSource,
    worker::DeliveryTiming,
};
use self::{
    alert::{AlertStatus, Denials},
    post::{Dial, Tcp},
    rate::Rate,
    worker::{Queued, SinkWorker, WorkerInputs},
};

/// Alerts that wait for a sink. More than this is a loop, and its first alerts tell enough.
const QUEUE: usize = 1024;

/// Within this time a sink gets the same alert once: it may be raised again after a restart, or by another
/// replica.
const WINDOW: Duration = Duration::from_secs(600);

/// How many sent alerts are remembered per sink; others may be sent again.
const REMEMBERED: usize = 4096;

/// Tasks of removed sinks; beyond this number, a removed sink gets a single attempt.
const MAX_REMOVED_SINKS: usize = 64;

/// The sending end: cheap to clone, and the same for all clones.
#[derive(Clone)]
pub struct Alerts {
    shared: Arc<Shared>,
}

struct Shared {
    route: ArcSwap<Route>,
    rate: Mutex<Option<Rate>>,
    /// Held while the route is replaced, so that two policies cannot start a sink twice.
    applying: Mutex<()>,
    start: Start,
    counters: Counters,
    tasks: TaskTracker,
    /// Stops all sinks, including those that are being removed.
    end: CancellationToken,
}

/// Starts the task of a sink.
type Start = Box<dyn Fn(WorkerInputs) + Send + Sync>;

/// The current sinks.
#[derive(Default)]
struct Route {
    lanes: Vec<Arc<SinkHandle>>,
    settings: AlertSettings,
}

/// The identity for deduplication: a resolution is not a duplicate of its first alert.
type AlertIdentity = (AlertKind, AlertStatus, String);

/// The queue and the settings of one sink.
struct SinkHandle {
    name: Arc<str>,
    sink: watch::Sender<Arc<Sink>>,
    queue: mpsc::Sender<Queued>,
    sent: Mutex<HashMap<AlertIdentity, Instant>>,
    retire: CancellationToken,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").finish_non_exhaustive()
    }
}

impl Default for Alerts {
    /// Sends nothing, whatever the policy says: for evaluation without a server.
    fn default() -> Self {
        Self::started_by(Box::new(|_| ()), Counters::default(), TaskTracker::new())
    }
}

impl Alerts {
    /// Sends nothing until [`Alerts::apply`]. Secrets that sinks name are read from `secrets`.
    pub fn new(secrets: impl SecretSource, counters: Counters) -> Self {
        Self::over(Tcp, secrets, counters, DeliveryTiming::default())
    }

    /// The same over connections made by `dial`, with other timing.
    fn over<D: Dial>(
        dial: D,
        secrets: impl SecretSource,
        counters: Counters,
        pace: DeliveryTiming,
    ) -> Self {
        let (tasks, counted) = (TaskTracker::new(), counters.clone());
        let spawner = tasks.clone();
        let start = Box::new(move |orders| {
            let (dial, secrets) = (dial.clone(), secrets.clone());
            let worker = SinkWorker::new(orders, dial, secrets, counted.clone(), pace);
            spawner.spawn(worker.run());
        });
        Self::started_by(start, counters, tasks)
    }

    fn started_by(start: Start, counters: Counters, tasks: TaskTracker) -> Self {
        Self {
            shared: Arc::new(Shared {
                route: ArcSwap::default(),
                rate: Mutex::default(),
                applying: Mutex::default(),
                start,
                counters,
                tasks,
                end: CancellationToken::new(),
            }),
        }
    }

    /// Applies settings. A sink that stays keeps its queue and gets its new settings; one that is removed gets
    /// its queued alerts in one last attempt.
    pub fn apply(&self, settings: &AlertSettings) {
        self.replace(settings, Vec::new());
    }

    /// The same, and notifies the previous sinks with their previous settings, so that nobody can
    /// remove or redirect a sink unnoticed.
    pub fn replace(&self, settings: &AlertSettings, farewell: Vec<Alert>) {
        let _one_at_a_time = self.shared.applying.lock();
        let old = self.shared.route.load_full();
        for alert in farewell {
            let alert = old.finish(alert);
            for sink_handle in &old.lanes {
                let sink = Arc::clone(&sink_handle.sink.borrow());
                let stays = settings.sinks.contains(&sink);
                if !sink.wants(alert.kind) {
                    continue;
                }
                if stays {
                    sink_handle.enqueue(&alert, None, &self.shared.counters);
                } else {
                    self.retire(&sink, &alert);
                }
            }
        }
        let lanes = settings
            .sinks
            .iter()
            .map(|sink| self.sink_handle(&old, sink))
            .collect();
        if old.settings.denials != settings.denials {
            *self.shared.rate.lock() = settings.denials.map(Rate::new);
        }
        self.shared.route.store(Arc::new(Route {
            lanes,
            settings: settings.clone(),
        }));
        for sink_handle in &old.lanes {
            if !settings
                .sinks
                .iter()
                .any(|sink| *sink.name == *sink_handle.name)
            {
                sink_handle.retire.cancel();
            }
        }
    }

    /// Sends one last alert to a removed sink; its task ends when it is delivered.
    fn retire(&self, sink: &Arc<Sink>, alert: &Arc<Alert>) {
        let sink_handle = self.start(sink);
        sink_handle.enqueue(alert, None, &self.shared.counters);
        if self.shared.tasks.len() > MAX_REMOVED_SINKS {
            sink_handle.retire.cancel();
        }
    }

    fn sink_handle(&self, old: &Route, sink: &Arc<Sink>) -> Arc<SinkHandle> {
        let found = old
            .lanes
            .iter()
            .find(|sink_handle| *sink_handle.name == *sink.name);
        if let Some(sink_handle) = found.filter(|sink_handle| !sink_handle.queue.is_closed()) {
            sink_handle.sink.send_if_modified(|held| {
                let changed = *held != *sink;
                if changed {
                    held.clone_from(sink);
                }
                changed
            });
            return Arc::clone(sink_handle);
        }
        Arc::new(self.start(sink))
    }

    fn start(&self, sink: &Arc<Sink>) -> SinkHandle {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (sender, receiver) = watch::channel(Arc::clone(sink));
        let retire = self.shared.end.child_token();
        (self.shared.start)(WorkerInputs {
            sink: receiver,
            queue: queued,
            retire: retire.clone(),
        });
        SinkHandle {
            name: sink.name.as_str().into(),
            sink: sender,
            queue,
            sent: Mutex::default(),
            retire,
        }
    }

    /// Notifies the sinks that want this kind. Never waits.
    pub fn raise(&self, alert: Alert) {
        self.notify(alert, None);
    }

    /// The same, also for duplicates, for callers that need to know the delivery state.
    pub fn raise_with_receipt(&self, alert: Alert) -> Receipt {
        let receipt = Receipt::default();
        self.notify(alert, Some(&receipt));
        receipt
    }

    fn notify(&self, alert: Alert, receipt: Option<&Receipt>) {
        let route = self.shared.route.load();
        if route.lanes.is_empty() {
            return;
        }
        let alert = route.finish(alert);
        for sink_handle in &route.lanes {
            if sink_handle.sink.borrow().wants(alert.kind) {
                sink_handle.enqueue(&alert, receipt, &self.shared.counters);
            }
        }
    }

    /// The number of emergency changes of one identity that get an alert of their own in a window.
    pub fn break_glass_rate(&self) -> AlertRate {
        self.shared.route.load().settings.break_glass_rate()
    }

    /// Counts a denial of `user`'s request on the object that `object` returns, and raises an alert if there
    /// are more than the policy's threshold.
    pub fn denied(&self, user: &str, object: impl FnOnce() -> ReportedObject) {
        let Some(rate) = self.shared.route.load().settings.denials else {
            return;
        };
        let too_many = match self.shared.rate.lock().as_mut() {
            Some(counted) => counted.denied(Instant::now()),
            None => false,
        };
        if too_many {
            self.raise(Alert::denials(&Denials {
                above: rate.above,
                within: rate.within,
                user,
                object: &object(),
                at: Timestamp::now(),
            }));
        }
    }

    /// Stops all sinks: each gets its queued alerts in one last attempt, within [`DeliveryTiming::drain`].
    pub async fn close(&self) {
        self.apply(&AlertSettings::default());
        self.shared.end.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Route {
    /// The final form for the sinks.
    fn finish(&self, alert: Alert) -> Arc<Alert> {
        Arc::new(match &self.settings.runbook_url {
            Some(url) => alert.with(AlertDetail::Runbook, url),
            None => alert,
        })
    }
}

impl SinkHandle {
    fn enqueue(&self, alert: &Arc<Alert>, receipt: Option<&Receipt>, counters: &Counters) {
        let now = Instant::now();
        let what = (alert.kind, alert.status, alert.key.clone());
        let is_recent = |at: &Instant| now.duration_since(*at) < WINDOW;
        let mut sent = self.sent.lock();
        // Denials have their own rate, with at most one alert per window.
        let may_repeat = alert.kind == AlertKind::Denials || receipt.is_some();
        if !may_repeat && sent.get(&what).is_some_and(is_recent) {
            counters.count(&self.name, alert.kind, AlertOutcome::Deduplicated);
            return;
        }
        // Counted before it is queued: the task may be done with it before this function is.
        counters.queued(&self.name).inc();
        if let Some(receipt) = receipt {
            receipt.queued();
        }
        let queued = Queued {
            alert: Arc::clone(alert),
            at: now,
            receipt: receipt.cloned(),
        };
        if self.queue.try_send(queued).is_err() {
            counters.queued(&self.name).dec();
            counters.count(&self.name, alert.kind, AlertOutcome::Dropped);
            if let Some(receipt) = receipt {
                receipt.done(AlertOutcome::Dropped);
            }
            return;
        }
        // A resolved alert may fire again.
        let opposite = match alert.status {
            AlertStatus::Firing => AlertStatus::Resolved,
            AlertStatus::Resolved => AlertStatus::Firing,
        };
        sent.remove(&(alert.kind, opposite, alert.key.clone()));
        if sent.len() >= REMEMBERED {
            sent.retain(|_, at| is_recent(at));
        }
        if sent.len() < REMEMBERED {
            sent.insert(what, now);
        }
    }
}

#[cfg(test)]
mod tests;
