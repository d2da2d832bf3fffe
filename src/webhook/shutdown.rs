//! Shutdown of the process: in an order that loses no call, and always completely.
//!
//! ```text
//! let mut signals = Signals::install()?;
//! let stop = Stop::default();
//! let mut tasks = Tasks::default();
//! tasks.spawn("release watch", watch(stop.finish.clone()));
//! tasks.spawn("admin port", accept::serve(admin_listener, …, stop.finish.clone()));
//! let server = accept::serve(listener, router, options, stop.drain.clone());
//! shutdown::run(server, tasks, &mut signals, &stop, before_close).await?
//! ```
//!
//! 1. A first signal, or a task that ended unexpectedly, cancels [`Stop::drain`]. Readiness must
//!    answer 503 from then on, and the server starts to drain.
//! 2. When the server has answered all requests, [`Stop::finish`] is cancelled: watches, registrar
//!    and the plain port end within [`FINISH_TIMEOUT`].
//! 3. A second signal at any time ends the wait at once.
//!
//! A task that ends unexpectedly leaves a guard that looks alive but is not, so the process exits,
//! too, with an error that names the task.

use std::{collections::HashMap, future::Future, io, time::Duration};

use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{Id, JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::accept::Drained;

/// How long background tasks may take to end.
pub(crate) const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long `before_close` may take: an unresponsive API server must not block the exit.
pub(crate) const BEFORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The process did not shut down cleanly.
#[derive(Debug, Error)]
pub(crate) enum ShutdownError {
    /// A background task returned or panicked on its own.
    #[error("failed to keep running: the task \"{name}\" {how}")]
    TaskEnded {
        /// Which.
        name: &'static str,
        /// `ended` or `panicked`.
        how: &'static str,
    },
    /// The server's future was dropped or panicked.
    #[error("failed to keep running: the server ended before it was asked to")]
    ServerEnded,
    /// A second signal came during the drain.
    #[error("failed to drain: a second signal asked to end at once")]
    Forced,
    /// The signal handlers could not be set.
    #[error("failed to listen for signals: {0}")]
    Signals(#[from] io::Error),
}

/// The two stages of the shutdown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// Not ready; answer requests, and close connections.
    pub(crate) drain: CancellationToken,
    /// Everything else ends now.
    pub(crate) finish: CancellationToken,
}

impl Stop {
    /// Whether the shutdown has started: then the guard is not ready.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }
}

/// SIGTERM (a kubelet, a service manager) and SIGINT (a person).
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on, these signals no longer terminate the process.
    pub(crate) fn install() -> Result<Self, ShutdownError> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Background tasks that must run as long as the process.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts a task. It must end when [`Stop::finish`] is cancelled, and not before.
    pub(crate) fn spawn<T>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) {
        let handle = self.set.spawn(async move {
            task.await;
        });
        self.names.insert(handle.id(), name);
    }

    /// The first task that ends; waits forever without tasks.
    async fn first_end(&mut self) -> ShutdownError {
        let (id, how) = match self.set.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => (id, "ended"),
            Some(Err(error)) => (JoinError::id(&error), "panicked"),
        };
        let name = self.names.get(&id).copied().unwrap_or("unnamed");
        ShutdownError::TaskEnded { name, how }
    }

    async fn finish(mut self) {
        let all = async { while self.set.join_next().await.is_some() {} };
        if timeout(FINISH_TIMEOUT, all).await.is_err() {
            let left = self.set.len();
            tracing::warn!(left, "background tasks did not end in time");
        }
    }
}

/// Runs until a signal or a failure, then stops everything in order; see the module's
/// documentation. `before_close` runs while the server still answers, at the start of the drain:
/// the place to remove a registration. `Ok` means exit code 0.
pub(crate) async fn run(
    server: impl Future<Output = Drained> + Send + 'static,
    mut tasks: Tasks,
    signals: &mut Signals,
    stop: &Stop,
    before_close: impl Future<Output = ()>,
) -> Result<(), ShutdownError> {
    let mut server = tokio::spawn(server);
    let mut answering = true;
    let result = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "draining");
            Ok(())
        }
        error = tasks.first_end() => Err(error),
        _ = &mut server => {
            answering = false;
            Err(ShutdownError::ServerEnded)
        }
    };
    if let Err(error) = &result {
        tracing::error!(%error, "draining");
    }
    stop.drain.cancel();
    let ordered = async {
        if timeout(BEFORE_CLOSE_TIMEOUT, before_close).await.is_err() {
            tracing::warn!("pre-shutdown hook timed out, continuing");
        }
        if answering {
            match server.await {
                Ok(Drained::Complete) => tracing::info!("drained"),
                Ok(Drained::Cut(left)) => {
                    tracing::warn!(left, "closed connections after the drain timeout");
                }
                Err(error) => tracing::error!(%error, "the server ended unexpectedly"),
            }
        }
        stop.finish.cancel();
        tasks.finish().await;
    };
    tokio::select! {
        () = ordered => result,
        _ = signals.next() => Err(ShutdownError::Forced),
    }
}

#[cfg(test)]
mod tests;
