//! The accept loop: TCP, TLS, HTTP/1.1 and HTTP/2, and every limit on time and number that keeps
//! one bad client from blocking another.
//!
//! ```text
//! let drained = accept::serve(listener, router, Options { protocol, limits, stats }, drain).await;
//! ```
//!
//! Invariants:
//! - Each connection has its own task; a panic, a timeout or garbage ends only that one.
//! - No connection can stay in a phase for longer than [`ConnectionLimits`] allows: see [`activity`].
//! - When `drain` is cancelled, the loop continues to accept for [`ConnectionLimits::drain_delay`], because
//!   the API server keeps its connections to a terminating pod and opens new ones until the
//!   endpoint's removal has reached it (kubernetes#127335). From then on, every HTTP/1.1 response
//!   carries `Connection: close` and every HTTP/2 connection gets GOAWAY. Then idle connections are
//!   closed, requests in flight get [`ConnectionLimits::drain_timeout`], and [`serve`] returns.
//!
//! The API server calls a Service over HTTP/1.1 (it forces that in its webhook client, kubernetes#82090),
//! and a URL of its own host over HTTP/2 (`k8s.io/apiserver/pkg/util/webhook/client.go`).

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod activity;
mod connection;
mod roster;
#[cfg(test)]
mod tests;

use roster::{Member, Roster};

/// The protocol of the listener.
#[derive(Clone)]
pub enum Protocol {
    /// HTTP/1.1 without TLS, for probes and scrapes.
    Plain,
    /// TLS; HTTP/2 where the client offers `h2`, else HTTP/1.1. See [`super::tls::server_config`].
    Tls(Arc<rustls::ServerConfig>),
}

/// Limits on time and number. The defaults are those of a webhook called by API servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections open at once. A new connection beyond it evicts another one: see [`roster`]. An
    /// API server keeps one HTTP/1.1 connection for each call in flight.
    pub connections: usize,
    /// Connections of one peer address that have not had a request answered with 200.
    pub untrusted_per_peer: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request (on a new connection: from its start) to the end of its
    /// headers. Ends the slow-loris.
    pub header_timeout: Duration,
    /// From the end of a request's headers to the answer, its body included. The API server waits
    /// `timeoutSeconds` (3 s here, 30 s at most), so a later answer is useless.
    pub request_timeout: Duration,
    /// How long a connection may stay open without a request. Longer than the 90 s after which the
    /// API server closes its own idle connections: with a shorter time here, it could send a
    /// request into a closing connection, and a POST is not retried.
    pub idle_timeout: Duration,
    /// How long to continue accepting after the drain started.
    pub drain_delay: Duration,
    /// How long requests in flight may take afterwards.
    pub drain_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 2048,
            untrusted_per_peer: 512,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(180),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Counters of a listener since its start, for the metrics.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    closed: AtomicU64,
    accept_errors: AtomicU64,
    handshake_failures: AtomicU64,
    timeouts: AtomicU64,
    evicted: AtomicU64,
}

impl Stats {
    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.accepted()
            .saturating_sub(self.closed.load(Ordering::Relaxed))
    }

    /// Errors of accept(2), such as too many open files.
    pub(crate) fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// TLS handshakes that failed or took too long.
    pub fn handshake_failures(&self) -> u64 {
        self.handshake_failures.load(Ordering::Relaxed)
    }

    /// Connections evicted for another one.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Connections and requests that exceeded a time limit.
    pub(crate) fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How to serve; the caller keeps a reference to `stats`.
#[derive(Clone)]
pub struct Options {
    /// TLS, or plain HTTP for probes and scrapes.
    pub protocol: Protocol,
    /// Limits on time and number.
    pub limits: ConnectionLimits,
    /// The counters.
    pub stats: Arc<Stats>,
}

/// The client address of a request, in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub IpAddr);

/// How the drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Complete,
    /// This many connections were cut after [`ConnectionLimits::drain_timeout`].
    Cut(usize),
}

/// The stages of the shutdown, as every connection sees them.
#[derive(Clone)]
struct Stages {
    /// Continue to answer, but close each connection after its answer.
    drain: CancellationToken,
    /// Close idle connections; accept no new ones.
    close: CancellationToken,
    /// The time is over.
    cut: CancellationToken,
}

/// Serves `router` on `listener` until `drain` is cancelled and the drain is over. Never fails:
/// errors of single connections are counted and logged at debug level.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: Options,
    drain: CancellationToken,
) -> Drained {
    let limits = options.limits;
    let stages = Stages {
        drain,
        close: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let members = Roster::new(limits, Arc::clone(&options.stats));
    let connections = TaskTracker::new();
    let mut backoff = ACCEPT_BACKOFF.build();

    let delay_over = async {
        stages.drain.cancelled().await;
        sleep(limits.drain_delay).await;
    };
    tokio::pin!(delay_over);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut delay_over => break,
            accepted = accept(&listener, &members) => accepted,
        };
        match accepted {
            Ok((stream, member)) => {
                backoff = ACCEPT_BACKOFF.build();
                count(&options.stats.accepted);
                let (router, options, stages) = (router.clone(), options.clone(), stages.clone());
                connections.spawn(async move {
                    let _counted = Closed(Arc::clone(&options.stats));
                    tokio::select! {
                        () = converse(stream, router, &options, (&member, stages)) => {}
                        () = member.evicted() => {}
                    }
                });
            }
            Err(error) => {
                count(&options.stats.accept_errors);
                let delay = accept_delay(&error, &mut backoff);
                tracing::warn!(%error, ?delay, "failed to accept a connection");
                sleep(delay).await;
            }
        }
    }

    drop(listener);
    stages.close.cancel();
    connections.close();
    if timeout(limits.drain_timeout, connections.wait())
        .await
        .is_ok()
    {
        return Drained::Complete;
    }
    let left = connections.len();
    stages.cut.cancel();
    connections.wait().await;
    Drained::Cut(left)
}

/// Counts the end of a connection, even after a panic.
struct Closed(Arc<Stats>);

impl Drop for Closed {
    fn drop(&mut self) {
        count(&self.0.closed);
    }
}

/// A new connection is accepted even if the limit is reached: an API server must not wait behind
/// connections without requests.
async fn accept(listener: &TcpListener, roster: &Arc<Roster>) -> io::Result<(TcpStream, Member)> {
    let (stream, peer) = listener.accept().await?;
    Ok((stream, roster.join(peer.ip()).await))
}

const ACCEPT_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(10))
    .with_max_delay(Duration::from_secs(1))
    .without_max_times();

/// Out of file descriptors or memory, accept(2) would fail again at once, so wait; a connection
/// that was closed before it was accepted says nothing about the next one.
fn accept_delay(error: &io::Error, backoff: &mut ExponentialBackoff) -> Duration {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => Duration::ZERO,
        _ => backoff.next().unwrap_or_default(),
    }
}

/// Serves one connection to its end.
async fn converse(
    stream: TcpStream,
    router: Router,
    options: &Options,
    (member, stages): (&Member, Stages),
) {
    // Answers are one small write; waiting for more to send would cost up to 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    match &options.protocol {
        Protocol::Plain => connection::serve_http1(stream, router, options, (member, stages)).await,
        Protocol::Tls(config) => {
            let deadline = Instant::now() + options.limits.handshake_timeout;
            let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
            let stream = tokio::select! {
                accepted = handshake => accepted,
                () = sleep_until(deadline) => Err(io::ErrorKind::TimedOut.into()),
                () = stages.cut.cancelled() => return,
            };
            match stream {
                Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                    connection::serve_http2(stream, router, options, (member, stages)).await;
                }
                Ok(stream) => {
                    connection::serve_http1(stream, router, options, (member, stages)).await;
                }
                Err(error) => {
                    count(&options.stats.handshake_failures);
                    tracing::debug!(%error, "failed to finish a TLS handshake");
                }
            }
        }
    }
}
