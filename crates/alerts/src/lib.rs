//! Alerts and tickets: tells the sinks of the policy what somebody should know.
//!
//! [`Alerts::raise`] puts an [`Alert`] into the queue of each sink that wants it and returns. Each sink
//! has a task of its own ([`worker`]) that renders, sends and tries again.
//!
//! Invariants
//! - Raising never waits: a sink that is down costs no request anything.
//! - Nothing is lost uncounted: what does not fit a queue, is said twice or cannot be delivered has its
//!   own [`Outcome`].
//! - Requests go where the policy says and nowhere else: no redirect is followed, no proxy is asked,
//!   and nothing of an answer but its status and `Retry-After` is read.
//! - No address, header or key is in a log line, an error or a metric: sinks are known by name.
//!
//! Start at [`Alerts`].

pub mod alert;
pub mod counters;
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
    api::policy::alerts::{AlertKind, AlertRate},
    policy::alerts::{Plan, Sink, template::Detail},
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
    counters::{Counters, Outcome},
    receipt::{Delivery, Receipt},
    secrets::SecretSource,
    worker::Pace,
};
use self::{
    alert::{Denials, Status},
    post::{Dial, Tcp},
    rate::Rate,
    worker::{Orders, Queued, Worker},
};

/// Alerts that wait for a sink. More than this is a loop, and its first alerts tell the story.
const QUEUE: usize = 1024;

/// Within this time the same thing is said to a sink once: whoever raises an alert may do so again
/// after a restart or on another replica's behalf.
const WINDOW: Duration = Duration::from_secs(600);

/// What was said is remembered of so many alerts a sink; what is not is said again.
const REMEMBERED: usize = 4096;

/// Tasks of sinks, beyond which one that leaves gets a single try.
const LEAVING: usize = 64;

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
    /// The end of all sinks, also of those that are leaving.
    end: CancellationToken,
}

/// Starts the task of a sink.
type Start = Box<dyn Fn(Orders) + Send + Sync>;

/// Where alerts go now.
#[derive(Default)]
struct Route {
    lanes: Vec<Arc<Lane>>,
    plan: Plan,
}

/// What is not said twice in a row: an end is another thing than its beginning.
type What = (AlertKind, Status, String);

/// The way to one sink.
struct Lane {
    name: Arc<str>,
    sink: watch::Sender<Arc<Sink>>,
    queue: mpsc::Sender<Queued>,
    said: Mutex<HashMap<What, Instant>>,
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
        Self::over(Tcp, secrets, counters, Pace::default())
    }

    /// The same over connections made by `dial`, in another pace.
    fn over<D: Dial>(dial: D, secrets: impl SecretSource, counters: Counters, pace: Pace) -> Self {
        let (tasks, counted) = (TaskTracker::new(), counters.clone());
        let spawner = tasks.clone();
        let start = Box::new(move |orders| {
            let (dial, secrets) = (dial.clone(), secrets.clone());
            let worker = Worker::new(orders, dial, secrets, counted.clone(), pace);
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

    /// Puts a plan in force. A sink that stays keeps its queue, and goes on with its new settings;
    /// one that is gone gets what is queued for it once more, without another try.
    pub fn apply(&self, plan: &Plan) {
        self.replace(plan, Vec::new());
    }

    /// The same, and tells the sinks of the plan before: each with the settings that it had, so that nobody
    /// takes a sink away, or turns it elsewhere, unheard.
    pub fn replace(&self, plan: &Plan, farewell: Vec<Alert>) {
        let _one_at_a_time = self.shared.applying.lock();
        let old = self.shared.route.load_full();
        for alert in farewell {
            let alert = old.finish(alert);
            for lane in &old.lanes {
                let sink = Arc::clone(&lane.sink.borrow());
                let stays = plan.sinks.contains(&sink);
                if !sink.wants(alert.kind) {
                    continue;
                }
                if stays {
                    lane.enqueue(&alert, None, &self.shared.counters);
                } else {
                    self.leave(&sink, &alert);
                }
            }
        }
        let lanes = plan
            .sinks
            .iter()
            .map(|sink| self.lane(&old, sink))
            .collect();
        if old.plan.denials != plan.denials {
            *self.shared.rate.lock() = plan.denials.map(Rate::new);
        }
        self.shared.route.store(Arc::new(Route {
            lanes,
            plan: plan.clone(),
        }));
        for lane in &old.lanes {
            if !plan.sinks.iter().any(|sink| *sink.name == *lane.name) {
                lane.retire.cancel();
            }
        }
    }

    /// Tells a sink that goes one thing more, by a task that ends when it is delivered.
    fn leave(&self, sink: &Arc<Sink>, alert: &Arc<Alert>) {
        let lane = self.start(sink);
        lane.enqueue(alert, None, &self.shared.counters);
        if self.shared.tasks.len() > LEAVING {
            lane.retire.cancel();
        }
    }

    fn lane(&self, old: &Route, sink: &Arc<Sink>) -> Arc<Lane> {
        let found = old.lanes.iter().find(|lane| *lane.name == *sink.name);
        if let Some(lane) = found.filter(|lane| !lane.queue.is_closed()) {
            lane.sink.send_if_modified(|held| {
                let changed = *held != *sink;
                if changed {
                    held.clone_from(sink);
                }
                changed
            });
            return Arc::clone(lane);
        }
        Arc::new(self.start(sink))
    }

    fn start(&self, sink: &Arc<Sink>) -> Lane {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (sender, receiver) = watch::channel(Arc::clone(sink));
        let retire = self.shared.end.child_token();
        (self.shared.start)(Orders {
            sink: receiver,
            queue: queued,
            retire: retire.clone(),
        });
        Lane {
            name: sink.name.as_str().into(),
            sink: sender,
            queue,
            said: Mutex::default(),
            retire,
        }
    }

    /// Tells the sinks that want to hear of it. Never waits.
    pub fn raise(&self, alert: Alert) {
        self.tell(alert, None);
    }

    /// The same, even if it was said before, for who wants to know what happens to it.
    pub fn raise_with_receipt(&self, alert: Alert) -> Receipt {
        let receipt = Receipt::default();
        self.tell(alert, Some(&receipt));
        receipt
    }

    fn tell(&self, alert: Alert, receipt: Option<&Receipt>) {
        let route = self.shared.route.load();
        if route.lanes.is_empty() {
            return;
        }
        let alert = route.finish(alert);
        for lane in &route.lanes {
            if lane.sink.borrow().wants(alert.kind) {
                lane.enqueue(&alert, receipt, &self.shared.counters);
            }
        }
    }

    /// More emergency changes of one identity than this are told together.
    pub fn break_glass_rate(&self) -> AlertRate {
        self.shared.route.load().plan.break_glass_rate()
    }

    /// Counts a denial of `user`'s request on the object that `object` describes; more of them than
    /// the policy says are an alert.
    pub fn denied(&self, user: &str, object: impl FnOnce() -> String) {
        let Some(rate) = self.shared.route.load().plan.denials else {
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

    /// Ends all sinks: each gets what is queued for it once more, for as long as [`Pace::drain`] says.
    pub async fn close(&self) {
        self.apply(&Plan::default());
        self.shared.end.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Route {
    /// As it goes to the sinks.
    fn finish(&self, alert: Alert) -> Arc<Alert> {
        Arc::new(match &self.plan.runbook_url {
            Some(url) => alert.with(Detail::Runbook, url),
            None => alert,
        })
    }
}

impl Lane {
    fn enqueue(&self, alert: &Arc<Alert>, receipt: Option<&Receipt>, counters: &Counters) {
        let now = Instant::now();
        let what = (alert.kind, alert.status, alert.key.clone());
        let is_recent = |at: &Instant| now.duration_since(*at) < WINDOW;
        let mut said = self.said.lock();
        // Denials have a rate of their own, and no more than one alert in its window.
        let may_repeat = alert.kind == AlertKind::Denials || receipt.is_some();
        if !may_repeat && said.get(&what).is_some_and(is_recent) {
            counters.count(&self.name, alert.kind, Outcome::Deduplicated);
            return;
        }
        // Counted first: the task may be done with it before this function is.
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
            counters.count(&self.name, alert.kind, Outcome::Dropped);
            if let Some(receipt) = receipt {
                receipt.done(Outcome::Dropped);
            }
            return;
        }
        // What ends may begin again, and be said again.
        let opposite = match alert.status {
            Status::Firing => Status::Resolved,
            Status::Resolved => Status::Firing,
        };
        said.remove(&(alert.kind, opposite, alert.key.clone()));
        if said.len() >= REMEMBERED {
            said.retain(|_, at| is_recent(at));
        }
        if said.len() < REMEMBERED {
            said.insert(what, now);
        }
    }
}

#[cfg(test)]
mod tests;
