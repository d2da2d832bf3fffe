//! The task of one sink: takes alerts from its queue in order, and retries each until it is sent, rejected or
//! too old.
//!
//! While a sink is down, the head of the queue is retried with backoff, and the others wait behind it. So a
//! sink that recovers gets all of them in order, and one that is down gets one request at a time.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use helm_guard_core::policy::alerts::{
    Address, AlertFormat, HeaderSource, Sink, SinkError, target::SinkAddress,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    alert::Alert,
    counters::{AlertOutcome, Counters},
    post::{self, Dial, PostError},
    receipt::Receipt,
    render,
    secrets::{self, SecretError, SecretSource},
};

/// How long one delivery may take, and how often it is tried.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryTiming {
    /// Timeout of one attempt, from the name resolution to the head of the answer.
    pub attempt: Duration,
    /// The delay before the second attempt; it doubles from there.
    pub(crate) first_wait: Duration,
    /// Maximum delay between two attempts.
    pub(crate) longest_wait: Duration,
    /// Maximum delay that a sink may request by `Retry-After`.
    pub(crate) longest_retry_after: Duration,
    /// Maximum age of an alert while its sink is down.
    pub keep: Duration,
    /// How long the last request to a removed sink may take, and after it the rest of the queue. Twice this
    /// must be less than the shutdown time of the process.
    pub drain: Duration,
}

impl Default for DeliveryTiming {
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

impl DeliveryTiming {
    /// The delays between attempts: each between half of it and all of it, so that replicas that lost a sink at
    /// the same time do not retry at the same time.
    fn backoff(&self) -> ExponentialBackoff {
        // The jitter adds up to as much again.
        ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(self.first_wait / 2)
            .with_max_delay(self.longest_wait / 2)
            .without_max_times()
            .build()
    }
}

/// A queued alert.
#[derive(Debug)]
pub(crate) struct Queued {
    /// What is to be sent.
    pub alert: Arc<Alert>,
    /// When it was queued.
    pub at: Instant,
    /// The delivery state to update.
    pub receipt: Option<Receipt>,
}

/// The inputs of a sink's task.
#[derive(Debug)]
pub(crate) struct WorkerInputs {
    /// The sink, as in the current policy.
    pub sink: watch::Receiver<Arc<Sink>>,
    /// The alerts to send, oldest first.
    pub queue: mpsc::Receiver<Queued>,
    /// Whether the sink was removed.
    pub(crate) retire: CancellationToken,
}

/// Why an alert was not sent.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("invalid sink address in a Secret: {0}")]
    Address(#[from] SinkError),
    #[error("invalid header value in a Secret")]
    Header,
    #[error("invalid CA certificates of the sink")]
    Trust,
    #[error("timed out")]
    TimedOut,
    #[error("the sink answered {status}")]
    Refused {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("gave up retrying")]
    TooOld,
    #[error("the sink was removed before delivery")]
    Retired,
}

impl DeliveryError {
    /// Whether the same request would fail again, as with a redirect, which is not followed.
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

/// What a request needs besides the alert. Contains values of Secrets: no `Debug`.
struct Endpoint {
    sink: Arc<Sink>,
    target: SinkAddress,
    headers: HeaderMap,
    routing_key: String,
    trust: Arc<ClientConfig>,
}

/// The task of one sink.
pub(super) struct SinkWorker<D, S> {
    orders: WorkerInputs,
    dial: D,
    secrets: S,
    counters: Counters,
    pace: DeliveryTiming,
    endpoint: Option<Endpoint>,
    /// Whether the Secrets may have changed since they were read.
    stale: bool,
    /// Consecutive failed attempts.
    failures: u32,
    /// The delays after further ones.
    backoff: ExponentialBackoff,
    /// The time of the next attempt.
    not_before: Instant,
}

impl<D: Dial, S: SecretSource> SinkWorker<D, S> {
    pub(super) fn new(
        orders: WorkerInputs,
        dial: D,
        secrets: S,
        counters: Counters,
        pace: DeliveryTiming,
    ) -> Self {
        Self {
            backoff: pace.backoff(),
            orders,
            dial,
            secrets,
            counters,
            pace,
            endpoint: None,
            stale: false,
            failures: 0,
            not_before: Instant::now(),
        }
    }

    /// Sends alerts until the sink is removed.
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
            self.finish(&name, &queued).await;
        }
        self.orders.queue.close();
        let deadline = Instant::now() + self.pace.drain;
        while let Some(queued) = self.orders.queue.recv().await {
            if Instant::now() < deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                self.pace.attempt = self.pace.attempt.min(left);
                self.finish(&name, &queued).await;
            } else {
                self.done(&name, &queued, AlertOutcome::Dropped);
            }
        }
    }

    /// Delivers one alert and counts the outcome.
    async fn finish(&mut self, name: &str, queued: &Queued) {
        let outcome = match self.deliver(queued).await {
            Ok(()) => AlertOutcome::Sent,
            Err(error) => {
                let (kind, key) = (queued.alert.kind.as_str(), &queued.alert.key);
                tracing::error!(sink = name, kind, key, %error, "failed to deliver an alert");
                match error {
                    DeliveryError::Retired => AlertOutcome::Dropped,
                    _ => AlertOutcome::Failed,
                }
            }
        };
        self.done(name, queued, outcome);
    }

    fn done(&self, name: &str, queued: &Queued, outcome: AlertOutcome) {
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

    /// Waits until the next attempt. New settings may have repaired the sink, and a removed sink has no time
    /// to wait.
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
                "the sink accepts alerts again"
            );
        }
        self.failures = 0;
        self.backoff = self.pace.backoff();
    }

    fn failed(&mut self, error: &DeliveryError) {
        if self.failures == 0 {
            tracing::warn!(sink = self.sink().name, %error, "failed to deliver an alert, retrying");
        }
        let wished = error.retry_after().unwrap_or_default();
        let wait = wished
            .min(self.pace.longest_retry_after)
            .max(self.backoff.next().unwrap_or(self.pace.longest_wait));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now() + wait;
        self.stale = true;
    }

    /// One request; two, if a rejection may be due to outdated values of Secrets.
    async fn attempt(&mut self, alert: &Alert) -> Result<(), DeliveryError> {
        let is_old = self.endpoint.is_some() && !self.stale;
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
            let endpoint = self.refresh_secrets().await?;
            let body = render::body(&endpoint.sink.format, alert, &endpoint.routing_key);
            let (target, headers) = (&endpoint.target, endpoint.headers.clone());
            let posting = post::post(&dial, &endpoint.trust, target, headers, body);
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

    /// The current address and headers of the sink; read again if they may have changed.
    async fn refresh_secrets(&mut self) -> Result<&Endpoint, DeliveryError> {
        let sink = Arc::clone(&self.orders.sink.borrow_and_update());
        let old = self
            .endpoint
            .take()
            .filter(|endpoint| endpoint.sink == sink);
        let is_good = !self.stale || sink.secrets().next().is_none();
        let endpoint = match old {
            Some(old) if is_good => old,
            Some(old) => match endpoint(sink, Arc::clone(&old.trust), &self.secrets).await {
                Ok(endpoint) => endpoint,
                // The API server may be what is down: then the values of the last read are used.
                Err(DeliveryError::Secret(SecretError::Get { .. })) => {
                    return Ok(self.endpoint.insert(old));
                }
                Err(error) => return Err(error),
            },
            None => {
                let bundle = sink.ca_bundle.clone();
                let trust = tokio::task::spawn_blocking(move || post::trust(&bundle)).await;
                let Ok(Ok(trust)) = trust else {
                    return Err(DeliveryError::Trust);
                };
                endpoint(sink, trust, &self.secrets).await?
            }
        };
        self.stale = false;
        Ok(self.endpoint.insert(endpoint))
    }
}

async fn endpoint(
    sink: Arc<Sink>,
    trust: Arc<ClientConfig>,
    secrets: &impl SecretSource,
) -> Result<Endpoint, DeliveryError> {
    let values = secrets::read(secrets, sink.secrets()).await?;
    let target = match &sink.address {
        Address::Known(target) => target.clone(),
        Address::Secret(key) => sink.target(values.value(key)?)?,
    };
    let routing_key = match &sink.format {
        AlertFormat::PagerDuty(key) => values.value(key)?.to_owned(),
        _ => String::new(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &sink.headers {
        let value = match value {
            HeaderSource::Known(value) => value.clone(),
            HeaderSource::Secret(key) => {
                let mut value = HeaderValue::from_str(values.value(key)?)
                    .map_err(|_quotes| DeliveryError::Header)?;
                value.set_sensitive(true);
                value
            }
        };
        headers.insert(name.clone(), value);
    }
    Ok(Endpoint {
        sink,
        target,
        headers,
        routing_key,
        trust,
    })
}
