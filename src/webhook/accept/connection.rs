//! One HTTP connection: requests to the router, within the limits, until the client, a deadline or
//! the drain ends it.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Options, Peer, Stages,
    activity::{Activity, Framing, Noticed, TrackedBody},
    count,
    roster::Member,
};

/// Request lines and headers together; the API server's are below 1 KiB.
const MAX_HEADERS: usize = 64 * 1024;
/// Concurrent streams on one HTTP/2 connection: the limit of Go's server.
const MAX_STREAMS: u32 = 250;
/// A dead HTTP/2 peer is found by a ping, at the latest after interval plus timeout.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn serve_http1<S>(
    stream: S,
    router: Router,
    options: &Options,
    (member, stages): (&Member, Stages),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (io, activity) = observed(stream, Framing::Http1, options, member);
    let mut builder = http1::Builder::new();
    // No header timeout of hyper: it would count idle time (see the activity module).
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(MAX_HEADERS);
    let drain = stages.drain.clone();
    let service = service(router, (activity.clone(), member.clone()), options, drain);
    let connection = builder.serve_connection(io, service_fn(service));
    // Closing an idle connection can lose a request in flight. So nothing is closed when the drain
    // starts: each connection in use is closed with its next answer, and only those without
    // requests during the entire delay are closed at its end.
    drive(connection, &activity, options, &stages.close, &stages.cut).await;
}

pub(super) async fn serve_http2<S>(
    stream: S,
    router: Router,
    options: &Options,
    (member, stages): (&Member, Stages),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (io, activity) = observed(stream, Framing::Http2, options, member);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    // The limit on reset streams (rapid reset, CVE-2023-44487) keeps its default.
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let drain = stages.drain.clone();
    let service = service(router, (activity.clone(), member.clone()), options, drain);
    let connection = builder.serve_connection(io, service_fn(service));
    // GOAWAY loses no request, so it is sent as soon as the drain starts.
    drive(connection, &activity, options, &stages.drain, &stages.cut).await;
}

/// A stream for hyper whose activity sets the deadlines of the connection and its place in the roster.
fn observed<S>(
    stream: S,
    framing: Framing,
    options: &Options,
    member: &Member,
) -> (TokioIo<Noticed<S>>, Activity) {
    let activity = Activity::new(framing, options.limits);
    member.observe(&activity);
    let noticed = Noticed {
        stream,
        activity: activity.clone(),
    };
    (TokioIo::new(noticed), activity)
}

/// Polls a connection to its end, and ends it at its deadline. A graceful end gets the time of one
/// request, so that a client cannot prolong it.
async fn drive<C>(
    connection: C,
    activity: &Activity,
    options: &Options,
    close: &CancellationToken,
    cut: &CancellationToken,
) where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let mut close = pin!(close.cancelled());
    let mut cut = pin!(cut.cancelled());
    let mut timer = pin!(sleep_until(activity.deadline()));
    let mut closing = false;
    poll_fn(|cx| {
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !closing && close.as_mut().poll(cx).is_ready() {
            closing = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "failed to serve a connection to its end");
            }
            return Poll::Ready(());
        }
        // Requests start, and bytes arrive, only while the connection is polled: an earlier
        // deadline is noticed here, a later one when the old one is reached.
        loop {
            let deadline = activity.deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            match Sleep::poll(timer.as_mut(), cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if activity.deadline() <= Instant::now() => {
                    count(&options.stats.timeouts);
                    return Poll::Ready(());
                }
                Poll::Ready(()) => {}
            }
        }
    })
    .await;
}

/// The router for hyper, with the time limit of a request.
fn service(
    router: Router,
    (activity, member): (Activity, Member),
    options: &Options,
    drain: CancellationToken,
) -> impl Fn(Request<Incoming>) -> ServiceFuture + Clone {
    let limit = options.limits.request_timeout;
    let stats = std::sync::Arc::clone(&options.stats);
    move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(member.address()));
        // Before any await: the deadline is read right after this call.
        let in_flight = activity.request();
        let (router, drain, stats) = (router.clone(), drain.clone(), std::sync::Arc::clone(&stats));
        let member = member.clone();
        Box::pin(async move {
            let version = request.version();
            let call = hyper::service::Service::call(&TowerToHyperService::new(router), request);
            let mut response = match timeout(limit, call).await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => {
                    count(&stats.timeouts);
                    let mut late = Response::new(Body::from("the request took too long\n"));
                    *late.status_mut() = StatusCode::REQUEST_TIMEOUT;
                    // The rest of its body may still arrive, so the connection cannot be reused.
                    close_after(&mut late, version);
                    late
                }
            };
            if response.status() == StatusCode::OK {
                member.trust();
            }
            if drain.is_cancelled() {
                close_after(&mut response, version);
            }
            Ok(response.map(|body| TrackedBody {
                body,
                _request: in_flight,
            }))
        })
    }
}

type ServiceFuture =
    std::pin::Pin<Box<dyn Future<Output = Result<Response<TrackedBody>, Infallible>> + Send>>;

/// HTTP/2 has no such header; there the connection gets GOAWAY.
fn close_after(response: &mut Response<Body>, version: Version) {
    if version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
