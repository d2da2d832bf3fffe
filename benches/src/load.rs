//! The callers: a number of TLS connections, kept alive. Each sends its next review when it has its
//! answer, as an API server's webhook client does (HTTP/1.1, one request at a time on a connection).
//!
//! Server and callers share the machine's cores, so the throughput is that of both together. Only the ratio to
//! another server with the same callers is meaningful. The CPU time of the server is measured separately.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use crate::tls::Identity;

/// The address of a server, and the CA to trust.
#[derive(Clone)]
pub struct Target {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    path: String,
    tls: TlsConnector,
}

impl Target {
    /// A server with this identity that accepts reviews on this path.
    pub fn new(address: SocketAddr, path: String, identity: &Identity) -> Result<Self> {
        let tls = TlsConnector::from(identity.client()?);
        Ok(Self { address, path, tls })
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Caller> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").context("a name")?;
        let stream = self.tls.connect(name, stream).await?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let uri = format!("{}?timeout=3s", self.path).parse()?;
        Ok(Caller { sender, uri })
    }
}

/// One connection.
pub struct Caller {
    sender: SendRequest<Full<Bytes>>,
    uri: Uri,
}

impl Caller {
    /// Sends a review and awaits the whole answer.
    pub async fn call(&mut self, body: Bytes) -> Result<Bytes> {
        let request = Request::post(self.uri.clone())
            .header("host", "127.0.0.1")
            .header("user-agent", "kube-apiserver-admission")
            .header("accept", "application/json, */*")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("the webhook answered {status}");
        }
        Ok(answer)
    }
}

/// Whether a webhook allowed the request.
pub fn is_allowed(answer: &[u8]) -> bool {
    const YES: &[u8] = b"\"allowed\":true";
    answer.windows(YES.len()).any(|window| window == YES)
}

/// The expected answer of a run: a benchmark of wrong answers is meaningless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `allowed: true`
    Allowed,
    /// `allowed: false`
    Denied,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Reviews answered.
    pub requests: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// From the first byte sent to the last received, in seconds, sorted.
    latencies: Vec<f64>,
}

impl Run {
    /// Reviews per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The quantile of the latency, in milliseconds.
    pub fn milliseconds(&self, share: f64) -> f64 {
        quantile(&self.latencies, share) * 1e3
    }
}

/// The quantile of sorted values.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

/// The value in the middle; values need not be sorted.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// Calls with all bodies in turn, again and again, for as long as `leg`.
pub async fn run(
    target: &Target,
    bodies: &Arc<[Bytes]>,
    connections: usize,
    leg: Duration,
    expected: Expected,
) -> Result<Run> {
    let mut callers = Vec::new();
    for _ in 0..connections {
        callers.push(target.connect().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in callers {
        let (bodies, next) = (Arc::clone(bodies), Arc::clone(&next));
        tasks.spawn(call_until(caller, bodies, next, begin + leg, expected));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    Ok(Run {
        requests: latencies.len(),
        seconds,
        latencies,
    })
}

async fn call_until(
    mut caller: Caller,
    bodies: Arc<[Bytes]>,
    next: Arc<AtomicUsize>,
    end: Instant,
    expected: Expected,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latencies);
        }
        let at = next.fetch_add(1, Ordering::Relaxed) % bodies.len().max(1);
        let body = bodies.get(at).context("no reviews to send")?.clone();
        let answer = caller.call(body).await?;
        latencies.push(sent.elapsed().as_secs_f64());
        if is_allowed(&answer) != (expected == Expected::Allowed) {
            bail!(
                "review {at} should be {expected:?}: {}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((quantile(&sorted, 0.5) - 51.0).abs() < 1.5);
        assert!((quantile(&sorted, 0.99) - 99.0).abs() < 0.5);
        assert!((quantile(&sorted, 1.0) - 100.0).abs() < 0.1);
        assert!(quantile(&[], 0.5).is_nan());
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
