//! A thread that writes lines, so that a sink that hangs blocks no caller.
//!
//! Invariants
//! - A caller waits for its line for at most [`CALLER_TIMEOUT`], and not at all while the sink hangs.
//! - The queue is bounded in lines and in bytes. A line that does not fit is rejected.
//! - The thread is never joined: a sink that hangs must not keep the process from ending.
//!
//! Start at [`LineWriter::queue`].

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

/// How long a caller waits for its line. A request has about two seconds; this leaves most of it.
const CALLER_TIMEOUT: Duration = Duration::from_millis(250);

/// Lines that may wait for the thread.
const QUEUED_LINES: usize = 1024;

/// Bytes that may wait for the thread.
const QUEUED_BYTES: usize = 8 << 20;

/// How often [`LineWriter::flush`] checks.
const FLUSH_INTERVAL: Duration = Duration::from_millis(5);

/// Why a line was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The sink returned an error.
    #[error("failed to write the line: {0}")]
    Sink(io::Error),
    /// The sink has not taken an earlier line for too long.
    #[error("failed to write the line: the sink has stopped taking lines")]
    Stalled,
    /// Too many lines are waiting already.
    #[error("failed to write the line: too many lines are waiting")]
    Full,
    /// The thread could not be started, or it panicked.
    #[error("failed to write the line: the writer is not running")]
    NotRunning,
}

/// A sink with a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct LineWriter {
    jobs: mpsc::SyncSender<Job>,
    state: Arc<WriterProgress>,
}

#[derive(Debug, Default)]
struct WriterProgress {
    /// Numbers jobs, from 1.
    last_job: AtomicU64,
    /// The highest number that has been written or has failed.
    done: AtomicU64,
    /// The highest number whose caller has stopped waiting.
    given_up: AtomicU64,
    queued_bytes: AtomicUsize,
    queued_lines: AtomicUsize,
}

struct Job {
    number: u64,
    line: Arc<[u8]>,
    written: oneshot::Sender<io::Result<()>>,
}

/// A line that is being written.
#[derive(Debug)]
pub(crate) struct Queued {
    number: u64,
    written: oneshot::Receiver<io::Result<()>>,
    state: Arc<WriterProgress>,
}

impl LineWriter {
    /// Starts a thread that writes to `sink`, each line in one call.
    pub(crate) fn start(sink: impl Write + Send + 'static) -> Self {
        let (jobs, queue) = mpsc::sync_channel(QUEUED_LINES);
        let state = Arc::<WriterProgress>::default();
        let of_thread = Arc::clone(&state);
        let started = thread::Builder::new()
            .name("line-writer".to_owned())
            .spawn(move || run(sink, &queue, &of_thread));
        if let Err(error) = started {
            // The queue is gone with the closure: each line fails as `NotRunning`.
            tracing::error!(%error, "failed to start the thread that writes audit lines");
        }
        Self { jobs, state }
    }

    /// Whether the sink has stopped taking lines.
    pub(crate) fn is_stalled(&self) -> bool {
        self.state.is_stalled()
    }

    /// Queues a line.
    ///
    /// # Errors
    /// When the sink has stalled, or the queue is full.
    pub(crate) fn queue(&self, line: &Arc<[u8]>) -> Result<Queued, WriteError> {
        let state = &self.state;
        if state.is_stalled() {
            return Err(WriteError::Stalled);
        }
        let queued = state.queued_bytes.fetch_add(line.len(), Relaxed);
        if queued > 0 && queued.saturating_add(line.len()) > QUEUED_BYTES {
            state.queued_bytes.fetch_sub(line.len(), Relaxed);
            return Err(WriteError::Full);
        }
        state.queued_lines.fetch_add(1, Relaxed);
        let number = state.last_job.fetch_add(1, Relaxed) + 1;
        let (written, receiver) = oneshot::channel();
        let job = Job {
            number,
            line: Arc::clone(line),
            written,
        };
        self.jobs.try_send(job).map_err(|refused| {
            state.leave(line.len());
            match refused {
                mpsc::TrySendError::Full(_) => WriteError::Full,
                mpsc::TrySendError::Disconnected(_) => WriteError::NotRunning,
            }
        })?;
        Ok(Queued {
            number,
            written: receiver,
            state: Arc::clone(state),
        })
    }

    /// Waits until the queue is empty, for at most `patience`. Blocks: use at the end of the process.
    pub(crate) fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.state.queued_lines.load(Relaxed) > 0 && Instant::now() < until {
            thread::sleep(FLUSH_INTERVAL);
        }
    }
}

impl Queued {
    /// Waits until the line is written, for at most [`CALLER_TIMEOUT`]. A line may still be written after this has
    /// timed out.
    ///
    /// # Errors
    /// When it is not written in time.
    pub(crate) async fn written(self) -> Result<(), WriteError> {
        match timeout(CALLER_TIMEOUT, self.written).await {
            Ok(Ok(result)) => result.map_err(WriteError::Sink),
            Ok(Err(_)) => Err(WriteError::NotRunning),
            Err(_) => {
                self.state.given_up.fetch_max(self.number, Relaxed);
                Err(WriteError::Stalled)
            }
        }
    }
}

impl WriterProgress {
    /// Whether a line whose caller stopped waiting is still not written.
    fn is_stalled(&self) -> bool {
        self.given_up.load(Relaxed) > self.done.load(Relaxed)
    }

    fn leave(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Relaxed);
        self.queued_lines.fetch_sub(1, Relaxed);
    }
}

fn run(mut sink: impl Write, queue: &mpsc::Receiver<Job>, state: &WriterProgress) {
    while let Ok(job) = queue.recv() {
        let result = sink.write_all(&job.line).and_then(|()| sink.flush());
        state.done.fetch_max(job.number, Relaxed);
        state.leave(job.line.len());
        // A caller that stopped waiting has put the line into the fallback.
        let _ = job.written.send(result);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Passes on one line per permit.
    struct Gate {
        permissions: Receiver<()>,
        lines: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.permissions.recv().ok();
            self.lines.send(line.to_vec()).ok();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (LineWriter, Sender<()>, Receiver<Vec<u8>>) {
        let (permit, permissions) = channel();
        let (lines, written) = channel();
        let writer = LineWriter::start(Gate { permissions, lines });
        (writer, permit, written)
    }

    async fn write(writer: &LineWriter, line: &[u8]) -> Result<(), WriteError> {
        writer.queue(&Arc::from(line))?.written().await
    }

    #[tokio::test]
    async fn a_line_is_acknowledged_when_the_sink_has_it() {
        let (writer, permit, written) = gate();
        permit.send(()).unwrap();
        write(&writer, b"one").await.unwrap();
        assert_eq!(written.recv().unwrap(), b"one");
        assert!(!writer.is_stalled());
    }

    #[tokio::test]
    async fn a_sink_that_hangs_blocks_no_caller_and_is_used_again_when_it_recovers() {
        let (writer, permit, written) = gate();
        let first = write(&writer, b"one").await;
        assert!(matches!(first, Err(WriteError::Stalled)), "{first:?}");
        assert!(writer.is_stalled());
        // Rejected at once: nothing is queued, so there is nothing to wait for.
        let second = writer.queue(&Arc::from(&b"two"[..]));
        assert!(matches!(second, Err(WriteError::Stalled)), "{second:?}");
        permit.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), b"one", "written late, not lost");
        writer.flush(Duration::from_secs(10));
        assert!(!writer.is_stalled());
        permit.send(()).unwrap();
        write(&writer, b"three").await.unwrap();
        assert_eq!(written.recv().unwrap(), b"three");
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_lines() {
        let (writer, _permit, _written) = gate();
        let line: Arc<[u8]> = Arc::from(&b"x"[..]);
        // The thread may hold one more than the queue.
        let queued: Vec<_> = (0..QUEUED_LINES + 2).map(|_| writer.queue(&line)).collect();
        let refused = queued.iter().filter(|queued| queued.is_err()).count();
        assert!((1..=2).contains(&refused), "{refused}");
        assert!(matches!(queued.last(), Some(Err(WriteError::Full))));
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_bytes_and_takes_one_line_of_any_length() {
        let (writer, _permit, _written) = gate();
        let long: Arc<[u8]> = vec![b'x'; QUEUED_BYTES + 1].into();
        assert!(writer.queue(&long).is_ok());
        let more = writer.queue(&Arc::from(&b"x"[..]));
        assert!(matches!(more, Err(WriteError::Full)), "{more:?}");
    }

    #[tokio::test]
    async fn the_error_of_the_sink_is_passed_on() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let writer = LineWriter::start(Full);
        let answer = write(&writer, b"one").await;
        assert!(matches!(answer, Err(WriteError::Sink(_))), "{answer:?}");
        assert!(!writer.is_stalled(), "a sink that fails does not hang");
    }
}
