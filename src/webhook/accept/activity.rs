//! The activity of a connection, and its deadline.
//!
//! hyper's own header timeout also runs while a kept-alive connection waits for its next request,
//! so it cannot distinguish a slow client from an idle one. Here, arriving bytes and the start and
//! end of requests drive a small state machine, whose deadline is the connection's.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    io::{self, AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::ConnectionLimits;

/// Whether bytes on an idle connection mean that a request's headers have started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// They do.
    Http1,
    /// They may be a ping or a window update, so they are ignored.
    Http2,
}

/// The activity of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the rest of the headers of a request.
    Head,
    /// Answering this many requests.
    Serving(usize),
    /// Waiting for a request.
    Idle,
}

#[derive(Debug)]
struct CurrentPhase {
    phase: Phase,
    since: Instant,
}

/// The activity of one connection, shared by its bytes, its requests and its deadline.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    state: Arc<Mutex<CurrentPhase>>,
    framing: Framing,
    limits: ConnectionLimits,
}

impl Activity {
    /// A new connection must send a request.
    pub(super) fn new(framing: Framing, limits: ConnectionLimits) -> Self {
        let state = CurrentPhase {
            phase: Phase::Head,
            since: Instant::now(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            framing,
            limits,
        }
    }

    /// The deadline of the connection, unless something happens before.
    pub(super) fn deadline(&self) -> Instant {
        let state = self.state.lock();
        let allowed = match state.phase {
            Phase::Head => self.limits.header_timeout,
            // The request's own limit ends it; twice that is for an answer that is never read.
            Phase::Serving(_) => self.limits.request_timeout * 2,
            Phase::Idle => self.limits.idle_timeout,
        };
        state.since + allowed
    }

    /// Marks the start of a request; dropping the returned value marks its end.
    pub(super) fn request(&self) -> InFlight {
        self.enter(|phase| match phase {
            Phase::Serving(requests) => Phase::Serving(requests + 1),
            Phase::Head | Phase::Idle => Phase::Serving(1),
        });
        InFlight(self.clone())
    }

    /// Whether the connection waits for a request.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().phase == Phase::Idle
    }

    fn bytes_arrived(&self) {
        if self.framing == Framing::Http1 && self.state.lock().phase == Phase::Idle {
            self.enter(|_| Phase::Head);
        }
    }

    fn enter(&self, next: impl FnOnce(Phase) -> Phase) {
        let mut state = self.state.lock();
        state.phase = next(state.phase);
        state.since = Instant::now();
    }
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Activity);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.enter(|phase| match phase {
            Phase::Serving(requests @ 2..) => Phase::Serving(requests - 1),
            _ => Phase::Idle,
        });
    }
}

/// An answer's body, which ends its request when it has been sent or dropped.
pub(super) struct TrackedBody {
    pub(super) body: Body,
    pub(super) _request: InFlight,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that reports arriving bytes.
pub(super) struct Noticed<S> {
    pub(super) stream: S,
    pub(super) activity: Activity,
}

impl<S: AsyncRead + Unpin> AsyncRead for Noticed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.bytes_arrived();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noticed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
