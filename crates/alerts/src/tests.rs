//! From a raised alert to its arrival at a sink, and the failures on the way.
//!
//! If time matters, connections are pipes in memory with a real HTTP server at the other end, so that an hour
//! passes in a moment. Sockets and certificates are tested in [`sockets`].

#![allow(
    clippy::needless_pass_by_value,
    reason = "what json! makes is passed as it is"
)]

mod delivery;
mod secret_values;
mod server;
mod sinks;
mod sockets;

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use helm_guard_core::{
    api::{ChangeState, EmergencyChangeSpec, Span},
    policy::alerts::{Address, target::SinkAddress},
};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;

use super::{
    alert::tests::{at, change},
    secrets::SourceFailure,
    *,
};

/// A request that a sink received.
#[derive(Debug)]
struct ReceivedRequest {
    at: Instant,
    host: String,
    path: String,
    headers: HeaderMap,
    body: Value,
}

/// The answer of a sink.
type Answers = Arc<dyn Fn(usize) -> Reply + Send + Sync>;

enum Reply {
    Status(u16),
    RetryAfter(u16, &'static str),
    Never,
}

/// A sink at the other end of a pipe, for any host name.
#[derive(Clone)]
struct Pipe {
    answers: Answers,
    requests: Arc<AtomicUsize>,
    got: mpsc::UnboundedSender<ReceivedRequest>,
}

impl Dial for Pipe {
    type Stream = DuplexStream;

    async fn dial(&self, target: &SinkAddress) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (pipe, host) = (self.clone(), target.host().to_owned());
        let service = hyper::service::service_fn(move |request| {
            let (pipe, host) = (pipe.clone(), host.clone());
            async move { pipe.answer(host, request).await }
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(far), service));
        Ok(near)
    }
}

impl Pipe {
    async fn answer(
        &self,
        host: String,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let got = ReceivedRequest {
            at: Instant::now(),
            host,
            path: parts.uri.to_string(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        };
        // A test may have dropped the other end already.
        let _ = self.got.send(got);
        let response = Response::builder();
        let response = match (self.answers)(self.requests.fetch_add(1, Ordering::SeqCst)) {
            Reply::Status(status) => response.status(status),
            Reply::RetryAfter(status, after) => {
                response.status(status).header(header::RETRY_AFTER, after)
            }
            Reply::Never => std::future::pending().await,
        };
        Ok(response.body(Body::empty()).unwrap())
    }
}

/// The guard's end, and what arrives at the other.
struct Scene {
    alerts: Alerts,
    counters: Counters,
    got: mpsc::UnboundedReceiver<ReceivedRequest>,
    requests: Arc<AtomicUsize>,
}

fn scene(answers: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Scene {
    scene_with(answers, |_, _| None)
}

/// The content of a Secret, given its name and the number of reads.
type SecretAnswer = dyn Fn(&str, usize) -> Option<Value> + Send + Sync;

/// A fake source of Secrets.
#[derive(Clone)]
struct Secrets {
    answer: Arc<SecretAnswer>,
    asked: Arc<AtomicUsize>,
}

impl Secrets {
    fn new(answer: impl Fn(&str, usize) -> Option<Value> + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            asked: Arc::default(),
        }
    }
}

impl SecretSource for Secrets {
    async fn get(&self, name: &str) -> Result<String, SourceFailure> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let secret = (self.answer)(name, asked).ok_or("404 NotFound")?;
        Ok(secret.to_string())
    }
}

/// With this source of Secrets.
fn scene_with(
    answers: impl Fn(usize) -> Reply + Send + Sync + 'static,
    secrets: impl Fn(&str, usize) -> Option<Value> + Send + Sync + 'static,
) -> Scene {
    let (sender, got) = mpsc::unbounded_channel();
    let requests = Arc::new(AtomicUsize::new(0));
    let pipe = Pipe {
        answers: Arc::new(answers),
        requests: Arc::clone(&requests),
        got: sender,
    };
    let counters = Counters::default();
    let alerts = Alerts::over(
        pipe,
        Secrets::new(secrets),
        counters.clone(),
        DeliveryTiming::default(),
    );
    Scene {
        alerts,
        counters,
        got,
        requests,
    }
}

impl Scene {
    async fn next(&mut self) -> ReceivedRequest {
        self.got.recv().await.unwrap()
    }

    /// Sent, failed, dropped, deduplicated.
    fn outcomes(&self, kind: AlertKind) -> [u64; 4] {
        [
            AlertOutcome::Sent,
            AlertOutcome::Failed,
            AlertOutcome::Dropped,
            AlertOutcome::Deduplicated,
        ]
        .map(|outcome| self.counters.counted("tickets", kind, outcome))
    }

    fn queued(&self) -> i64 {
        self.counters.queued("tickets").get()
    }

    /// Waits until nothing is queued.
    async fn settled(&self) {
        while self.queued() > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A policy with one sink, `tickets`, and the settings in `more`.
fn settings(more: Value) -> AlertSettings {
    let mut sink = json!({"name": "tickets", "type": "http", "url": "http://tickets.example/new"});
    for (key, value) in more.as_object().unwrap() {
        sink[key] = value.clone();
    }
    sink.as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    let alerts = json!({"sinks": [sink]});
    AlertSettings::compile(&serde_json::from_value(alerts).unwrap(), None).unwrap()
}

fn numbered(number: usize) -> EmergencyChangeSpec {
    let mut change = change();
    change.request_uid = number.to_string();
    change
}

fn of_guard(kind: AlertKind) -> Alert {
    Alert::of_guard(kind, "uid/7", "sink tickets removed", at(1))
}
