//! The task of one sink: takes alerts from its queue in their order, and tries until each is sent, is
//! refused, or is too old.
//!
//! While a sink is down, the alert at the head of the queue is what knocks at its door, ever more
//! seldom; the others wait behind it. So a sink that comes back gets all of them in order, and one
//! that is down sees one request at a time.

use std::{sync::Arc, time::Duration};

use helm_guard_core::policy::alerts::{Address, Sink, SinkError, Speaks, Value, target::Target};
use http::{HeaderMap, HeaderValue, StatusCode};
use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    alert::Alert,
    counters::{Counters, Outcome},
    post::{self, Dial, PostError},
    receipt::Receipt,
    render,
    secrets::{self, SecretError, SecretSource},
};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// One attempt, from the name's resolution to the answer's head.
    pub attempt: Duration,
    /// Before the second attempt; it doubles from there.
    pub first_wait: Duration,
    /// Between two attempts at most.
    pub longest_wait: Duration,
    /// What a sink may ask for by `Retry-After`, at most.
    pub longest_retry_after: Duration,
    /// How old an alert may become while its sink is down.
    pub keep: Duration,
    /// How long the request to a sink that is taken away may still take, and after it the rest of the
    /// queue. Twice this must be less than the process has at its end.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(300),
            keep: Duration::from_secs(2 * 3600),
            drain: Duration::from_millis(1250),
        }
    }
}

/// An alert that waits.
#[derive(Debug)]
pub struct Queued {
    /// What to say.
    pub alert: Arc<Alert>,
    /// Since when it waits.
    pub at: Instant,
    /// Who wants to know what happens to it.
    pub receipt: Option<Receipt>,
}

/// What a task is told.
#[derive(Debug)]
pub struct Orders {
    /// The sink, as the policy says now.
    pub sink: watch::Receiver<Arc<Sink>>,
    /// What to send.
    pub queue: mpsc::Receiver<Queued>,
    /// The sink is not wanted any more.
    pub retire: CancellationToken,
}

/// Why an alert was not sent.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("failed to use the address that a Secret holds: {0}")]
    Address(#[from] SinkError),
    #[error("failed to use a Secret's value as a header")]
    Header,
    #[error("failed to use the CA certificates of the sink")]
    Trust,
    #[error("failed to get an answer in time")]
    TimedOut,
    #[error("failed to deliver: the sink answered {status}")]
    Refused {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("failed to deliver for too long")]
    TooOld,
    #[error("failed to deliver before the sink was taken away")]
    Retired,
}

impl DeliveryError {
    /// Whether the same request would fail again. A redirect is one of these: it is not followed.
    fn is_permanent(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                let passes = [
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::TOO_EARLY,
                    StatusCode::TOO_MANY_REQUESTS,
                ];
                !status.is_server_error() && !passes.contains(status)
            }
            Self::Post(PostError::Request) => true,
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What a request needs beside the alert. Holds Secrets' values: no `Debug`.
struct Known {
    sink: Arc<Sink>,
    target: Target,
    headers: HeaderMap,
    routing_key: String,
    trust: Arc<ClientConfig>,
}

/// The task of one sink.
pub(super) struct Worker<D, S> {
    orders: Orders,
    dial: D,
    secrets: S,
    counters: Counters,
    pace: Pace,
    known: Option<Known>,
    /// Whether the Secrets may have changed since they were read.
    stale: bool,
    /// Attempts that failed since one did not.
    failures: u32,
    /// Nothing is sent before.
    not_before: Instant,
}

impl<D: Dial, S: SecretSource> Worker<D, S> {
    pub(super) fn new(orders: Orders, dial: D, secrets: S, counters: Counters, pace: Pace) -> Self {
        Self {
            orders,
            dial,
            secrets,
            counters,
            pace,
            known: None,
            stale: false,
            failures: 0,
            not_before: Instant::now(),
        }
    }

    /// Sends what comes until the sink is taken away.
    pub(super) async fn run(mut self) {
        let name = self.sink().name.clone();
        let retire = self.orders.retire.clone();
        loop {
            let queued = tokio::select! {
                biased;
                () = retire.cancelled() => break,
                queued = self.orders.queue.recv() => queued,
            };
            let Some(queued) = queued else { return };
            self.settle(&name, &queued).await;
        }
        self.orders.queue.close();
        let deadline = Instant::now() + self.pace.drain;
        while let Some(queued) = self.orders.queue.recv().await {
            if Instant::now() < deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                self.pace.attempt = self.pace.attempt.min(left);
                self.settle(&name, &queued).await;
            } else {
                self.done(&name, &queued, Outcome::Dropped);
            }
        }
    }

    /// Delivers one, and counts what became of it.
    async fn settle(&mut self, name: &str, queued: &Queued) {
        let outcome = match self.deliver(queued).await {
            Ok(()) => Outcome::Sent,
            Err(error) => {
                let (kind, key) = (queued.alert.kind.as_str(), &queued.alert.key);
                tracing::error!(sink = name, kind, key, %error, "failed to deliver an alert");
                match error {
                    DeliveryError::Retired => Outcome::Dropped,
                    _ => Outcome::Failed,
                }
            }
        };
        self.done(name, queued, outcome);
    }

    fn done(&self, name: &str, queued: &Queued, outcome: Outcome) {
        self.counters.queued(name).dec();
        self.counters.count(name, queued.alert.kind, outcome);
        if let Some(receipt) = &queued.receipt {
            receipt.done(outcome);
        }
    }

    fn sink(&self) -> Arc<Sink> {
        Arc::clone(&self.orders.sink.borrow())
    }

    async fn deliver(&mut self, queued: &Queued) -> Result<(), DeliveryError> {
        let expiry = queued.at + self.pace.keep;
        let mut tried = false;
        loop {
            if self.failures > 0 {
                if self.orders.retire.is_cancelled() {
                    return Err(DeliveryError::Retired);
                }
                if !tried && Instant::now() >= expiry {
                    return Err(DeliveryError::TooOld);
                }
            }
            self.pause().await;
            tried = true;
            let error = match self.attempt(&queued.alert).await {
                Ok(()) => {
                    self.recovered();
                    return Ok(());
                }
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) => error,
            };
            self.failed(&error);
            if self.not_before >= expiry {
                return Err(error);
            }
        }
    }

    /// Waits until the sink may be asked again. New settings may have repaired it, and at its end
    /// there is no time to wait.
    async fn pause(&mut self) {
        tokio::select! {
            () = sleep_until(self.not_before) => {}
            Ok(()) = self.orders.sink.changed() => {}
            () = self.orders.retire.cancelled() => {}
        }
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(
                sink = self.sink().name,
                attempts = self.failures,
                "the sink takes alerts again"
            );
        }
        self.failures = 0;
    }

    fn failed(&mut self, error: &DeliveryError) {
        if self.failures == 0 {
            tracing::warn!(sink = self.sink().name, %error, "failed to deliver an alert; trying again");
        }
        let wished = error.retry_after().unwrap_or_default();
        let wait = wished
            .min(self.pace.longest_retry_after)
            .max(jittered(backoff(&self.pace, self.failures)));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now() + wait;
        self.stale = true;
    }

    /// One request; two, where a refusal may be due to what was read from Secrets some time ago.
    async fn attempt(&mut self, alert: &Alert) -> Result<(), DeliveryError> {
        let is_old = self.known.is_some() && !self.stale;
        let result = self.send(alert).await;
        match result {
            Err(error)
                if error.is_permanent() && is_old && self.sink().secrets().next().is_some() =>
            {
                self.stale = true;
                self.send(alert).await
            }
            result => result,
        }
    }

    async fn send(&mut self, alert: &Alert) -> Result<(), DeliveryError> {
        let (limit, drain) = (self.pace.attempt, self.pace.drain);
        let retire = self.orders.retire.clone();
        let taken_away = async {
            retire.cancelled().await;
            sleep(drain).await;
        };
        let dial = self.dial.clone();
        let sending = async {
            let known = self.learn().await?;
            let body = render::body(&known.sink.speaks, alert, &known.routing_key);
            let (target, headers) = (&known.target, known.headers.clone());
            let posting = post::post(&dial, &known.trust, target, headers, body);
            let answer = timeout(limit, posting).await;
            Ok::<_, DeliveryError>(answer.map_err(|_elapsed| DeliveryError::TimedOut)??)
        };
        let answer = tokio::select! {
            answer = sending => answer?,
            () = taken_away => return Err(DeliveryError::TimedOut),
        };
        if answer.status.is_success() {
            return Ok(());
        }
        Err(DeliveryError::Refused {
            status: answer.status,
            retry_after: answer.retry_after,
        })
    }

    /// What is to be known of the sink as it is now; read anew where it may have changed.
    async fn learn(&mut self) -> Result<&Known, DeliveryError> {
        let sink = Arc::clone(&self.orders.sink.borrow_and_update());
        let old = self.known.take().filter(|known| known.sink == sink);
        let is_good = !self.stale || sink.secrets().next().is_none();
        let known = match old {
            Some(old) if is_good => old,
            Some(old) => match known(sink, Arc::clone(&old.trust), &self.secrets).await {
                Ok(known) => known,
                // The API server may be what is down: then what was read before must do.
                Err(DeliveryError::Secret(SecretError::Get { .. })) => {
                    return Ok(self.known.insert(old));
                }
                Err(error) => return Err(error),
            },
            None => {
                let bundle = sink.ca_bundle.clone();
                let trust = tokio::task::spawn_blocking(move || post::trust(&bundle)).await;
                let Ok(Ok(trust)) = trust else {
                    return Err(DeliveryError::Trust);
                };
                known(sink, trust, &self.secrets).await?
            }
        };
        self.stale = false;
        Ok(self.known.insert(known))
    }
}

async fn known(
    sink: Arc<Sink>,
    trust: Arc<ClientConfig>,
    secrets: &impl SecretSource,
) -> Result<Known, DeliveryError> {
    let held = secrets::read(secrets, sink.secrets()).await?;
    let target = match &sink.address {
        Address::Known(target) => target.clone(),
        Address::Secret(key) => sink.target(held.value(key)?)?,
    };
    let routing_key = match &sink.speaks {
        Speaks::PagerDuty(key) => held.value(key)?.to_owned(),
        _ => String::new(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &sink.headers {
        let value = match value {
            Value::Known(value) => value.clone(),
            Value::Secret(key) => {
                let mut value = HeaderValue::from_str(held.value(key)?)
                    .map_err(|_quotes| DeliveryError::Header)?;
                value.set_sensitive(true);
                value
            }
        };
        headers.insert(name.clone(), value);
    }
    Ok(Known {
        sink,
        target,
        headers,
        routing_key,
        trust,
    })
}

fn backoff(pace: &Pace, failures: u32) -> Duration {
    let doubled = pace
        .first_wait
        .saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    doubled.min(pace.longest_wait)
}

/// Between half of it and all of it, so that replicas that lost a sink at once do not come back at
/// once.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes there is no jitter, and nothing else is lost.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [byte] = byte;
    wait.mul_f64(0.5 + f64::from(byte) / 512.0)
}
