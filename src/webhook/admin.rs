//! The plain port: probes and metrics.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the process can answer at all; no state, so a slow cluster restarts nobody |
//! | `/readyz` | 200, or 503 while something is missing; the text names each part either way |
//! | `/metrics` | the metrics in the `OpenMetrics` format |
//!
//! ```text
//! let router = admin::router(Admin { checks: Arc::new(move || vec![index_check(), …]), metrics });
//! admin::serve_on_own_thread(listener, (router, Options { protocol: Plain, limits: admin::limits(), stats }), stop)
//! ```
//!
//! Serve it until the very end: a probe without a listener fails.

use std::{fmt::Write, io, sync::Arc, thread, time::Duration};

use axum::{Router, extract::State as Shared, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::accept::{self, ConnectionLimits, Options};

/// The health of one part of the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Healthy.
    Ok,
    /// Healthy, with a note.
    Noted(String),
    /// It serves partially; the text says what is missing.
    Degraded(String),
    /// It does not serve; the text says what it waits for.
    Missing(String),
}

/// One part of the guard and its health. Anyone who reaches the port can read the text: it must
/// contain no data of Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// `index`, `certificate`, `registration`, …
    pub(crate) name: &'static str,
    pub(crate) health: Health,
}

/// The content of the port. Both are called for each request and must not wait.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The parts that readiness depends on, in display order.
    pub(crate) checks: Arc<dyn Fn() -> Vec<HealthCheck> + Send + Sync>,
    /// The metrics as text, ending in `# EOF`.
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// `prometheus_client`'s encoding.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// Limits for the plain port: few clients, short waits, no delay in the drain (it ends last).
pub(crate) fn limits() -> ConnectionLimits {
    ConnectionLimits {
        connections: 64,
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(1),
        ..ConnectionLimits::default()
    }
}

/// Serves on a separate thread: busy workers must not make all replicas miss their probes at once.
/// The future ends with the thread.
///
/// # Errors
/// When the thread or its runtime cannot be started.
pub(crate) fn serve_on_own_thread(
    listener: TcpListener,
    (router, options): (Router, Options),
    stop: CancellationToken,
) -> io::Result<impl Future<Output = ()>> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (ended, end) = oneshot::channel();
    let serving = async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                accept::serve(listener, router, options, stop).await;
            }
            Err(error) => tracing::error!(%error, "failed to serve the admin port"),
        }
    };
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            runtime.block_on(serving);
            // An error means that the receiver is gone, because the drain was forced.
            let _ = ended.send(());
        })?;
    Ok(async move {
        // An error means that the thread panicked: the port is closed either way.
        let _ = end.await;
    })
}

async fn readyz(Shared(admin): Shared<Admin>) -> (StatusCode, String) {
    report(&(admin.checks)())
}

async fn metrics(Shared(admin): Shared<Admin>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPENMETRICS)], (admin.metrics)())
}

/// One line per part, in the style of the API server's `/readyz?verbose`.
fn report(checks: &[HealthCheck]) -> (StatusCode, String) {
    let mut status = StatusCode::OK;
    let mut text = String::new();
    for HealthCheck { name, health } in checks {
        // Writing to a String cannot fail.
        let _ = match health {
            Health::Ok => writeln!(text, "[+]{name} ok"),
            Health::Noted(what) => writeln!(text, "[+]{name} ok: {what}"),
            Health::Degraded(what) => writeln!(text, "[!]{name} degraded: {what}"),
            Health::Missing(what) => {
                status = StatusCode::SERVICE_UNAVAILABLE;
                writeln!(text, "[-]{name} missing: {what}")
            }
        };
    }
    let end = if status.is_success() {
        "ready"
    } else {
        "not ready"
    };
    text.push_str(end);
    text.push('\n');
    (status, text)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use rstest::rstest;
    use tower::ServiceExt;

    use super::*;

    async fn get(admin: Admin, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(admin).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn admin(healths: &[Health]) -> Admin {
        let names = ["index", "certificate"];
        let checks: Vec<_> = names
            .into_iter()
            .zip(healths.iter().cloned())
            .map(|(name, health)| HealthCheck { name, health })
            .collect();
        Admin {
            checks: Arc::new(move || checks.clone()),
            metrics: Arc::new(|| "# EOF\n".to_owned()),
        }
    }

    #[rstest]
    #[case::all_is_well(&[Health::Ok, Health::Ok], 200, "[+]index ok\n[+]certificate ok\nready\n")]
    #[case::degraded_is_ready(
        &[Health::Degraded("the records of namespace a cannot be read".into())],
        200,
        "[!]index degraded: the records of namespace a cannot be read\nready\n"
    )]
    #[case::missing_is_not(
        &[Health::Missing("3 of 5 records seen".into()), Health::Ok],
        503,
        "[-]index missing: 3 of 5 records seen\n[+]certificate ok\nnot ready\n"
    )]
    #[tokio::test]
    async fn readiness_shows_what_is_missing(
        #[case] healths: &[Health],
        #[case] status: u16,
        #[case] text: &str,
    ) {
        let expected = (StatusCode::from_u16(status).unwrap(), text.to_owned());
        assert_eq!(get(admin(healths), "/readyz").await, expected);
    }

    #[tokio::test]
    async fn liveness_is_independent_of_readiness() {
        let missing = [Health::Missing("all of it".into())];
        assert_eq!(get(admin(&missing), "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn probes_are_answered_while_every_worker_is_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = Options {
            protocol: accept::Protocol::Plain,
            limits: limits(),
            stats: Arc::default(),
        };
        let stop = CancellationToken::new();
        let served = (router(admin(&[])), options);
        let end = serve_on_own_thread(listener, served, stop.clone()).unwrap();
        // The only worker waits until a probe is answered.
        let (answered, answer) = std::sync::mpsc::channel::<()>();
        let busy = tokio::spawn(async move { answer.recv() });
        let probe = move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            answered.send(()).unwrap();
            text
        };
        let text = thread::spawn(probe).join().unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(busy.await.unwrap().is_ok());
        stop.cancel();
        end.await;
    }

    #[tokio::test]
    async fn metrics_are_served_unchanged() {
        assert_eq!(
            get(admin(&[]), "/metrics").await,
            (StatusCode::OK, "# EOF\n".to_owned())
        );
    }
}
