//! The shared memory budget for decoding records.
//!
//! Anyone may have written a record: a few kilobytes may inflate a thousandfold and contain many small
//! values. [`RecordLimits`](helm_guard_core::helm::record::RecordLimits) limit one record; this limits several at once,
//! for the index, read-throughs and reviews of records alike.
//!
//! Invariants
//! - A record is decoded only while its part of the budget is held, even if nobody waits for the
//!   result any more.
//! - Decoding two records takes the budget for both at once, to avoid a deadlock.

use std::sync::{Arc, LazyLock};

use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

/// The entire budget, in bytes.
const BUDGET: usize = 64 << 20;

/// A permit is one kibibyte, because permits are counted in 32 bits.
const PERMIT: usize = 1 << 10;

/// The maximum for any record: trees are larger than their text.
const EACH: usize = 12 << 20;

/// The estimate for a payload before it is decoded: its size as JSON, once for the JSON and once
/// for the manifest in it.
fn weight(claimed: usize) -> usize {
    claimed.saturating_mul(2).saturating_add(EACH)
}

/// The budget is per process, like the memory.
static OF_PROCESS: LazyLock<Decoding> = LazyLock::new(Decoding::default);

/// The budget. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Decoding {
    permits: Arc<Semaphore>,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(BUDGET / PERMIT)),
        }
    }
}

impl Decoding {
    /// The shared budget.
    pub(crate) fn of_process() -> &'static Self {
        &OF_PROCESS
    }

    /// Computes on a thread that may block, as soon as the budget allows records of this many bytes
    /// of JSON in total.
    ///
    /// # Errors
    /// When the computation panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        claimed: usize,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let permits = (weight(claimed) / PERMIT).min(BUDGET / PERMIT);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        // The semaphore is never closed; without it, the limit of one record would still apply.
        let taken = Arc::clone(&self.permits).acquire_many_owned(permits).await;
        spawn_blocking(move || {
            let computed = compute();
            drop(taken);
            computed
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::small_ones(50 << 10, 5)]
    #[case::of_one_mebibyte(1 << 20, 4)]
    #[case::as_large_as_may_be(16 << 20, 1)]
    #[case::that_claim_anything(usize::MAX, 1)]
    #[tokio::test]
    async fn concurrent_decoding_stays_within_the_budget(
        #[case] claimed: usize,
        #[case] most: usize,
    ) {
        let decoding = Decoding::default();
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let running = (0..20).map(|_| {
            let (decoding, now, peak) = (decoding.clone(), Arc::clone(&now), Arc::clone(&peak));
            tokio::spawn(async move {
                let compute = move || {
                    peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, SeqCst);
                };
                decoding.run(claimed, compute).await
            })
        });
        for one in running.collect::<Vec<_>>() {
            one.await.unwrap().unwrap();
        }
        assert!((1..=most).contains(&peak.load(SeqCst)), "{peak:?}");
    }

    /// The budget limits memory, whether somebody waits or not.
    #[tokio::test]
    async fn an_abandoned_decode_still_holds_its_budget() {
        let decoding = Decoding::default();
        let (go_on, may_end) = mpsc::channel::<()>();
        let (tell, begun) = tokio::sync::oneshot::channel();
        let may_end = Mutex::new(may_end);
        let task = tokio::spawn({
            let decoding = decoding.clone();
            async move {
                let compute = move || {
                    let _ = tell.send(());
                    let _ = may_end.lock().unwrap().recv();
                };
                decoding.run(usize::MAX, compute).await
            }
        });
        begun.await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(decoding.permits.available_permits(), 0);
        go_on.send(()).unwrap();
        decoding.run(usize::MAX, || ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_releases_its_budget() {
        let decoding = Decoding::default();
        let died = decoding.run(usize::MAX, || panic!("as a decoder")).await;
        assert!(died.unwrap_err().is_panic());
        assert_eq!(decoding.run(usize::MAX, || 1).await.unwrap(), 1);
    }
}
