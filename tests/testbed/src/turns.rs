//! Which tests may run at the same time. A webhook registration applies to the whole cluster, so tests that share one
//! guard run together, and a test that runs its own guard runs alone.
//!
//! A test begins with [`share`] or with [`Alone::take`].

use std::{
    cell::RefCell,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

static TURNS: Turns = Turns {
    state: Mutex::new(State {
        sharing: 0,
        is_alone: false,
        waiting: 0,
    }),
    changed: Condvar::new(),
};

thread_local! {
    /// Each test has a thread, so this ends with the test.
    static SHARED: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Tests that share a guard.
    sharing: usize,
    /// Whether a test runs alone.
    is_alone: bool,
    /// Tests that wait to run alone. They go first, or the others would never leave a gap.
    waiting: usize,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `is_free`, and then changes the state.
    fn await_turn(&self, is_free: impl Fn(&State) -> bool, change: impl FnOnce(&mut State)) {
        let waited = self
            .changed
            .wait_while(self.lock(), |state| !is_free(state));
        change(&mut waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// One that shares a guard.
struct Shared;

impl Drop for Shared {
    fn drop(&mut self) {
        TURNS.change(|state| state.sharing -= 1);
    }
}

/// From now on until the end of its thread, a test shares a guard with others.
pub fn share() {
    SHARED.with_borrow_mut(|shared| {
        shared.get_or_insert_with(|| {
            TURNS.await_turn(
                |state| !state.is_alone && state.waiting == 0,
                |state| state.sharing += 1,
            );
            Shared
        });
    });
}

/// The right to run alone.
#[derive(Debug)]
pub struct Alone(());

impl Alone {
    /// Waits for all other tests. A failed test does not block the rest.
    pub fn take() -> Self {
        // With --test-threads=1, all tests have the same thread.
        SHARED.take();
        TURNS.change(|state| state.waiting += 1);
        TURNS.await_turn(
            |state| !state.is_alone && state.sharing == 0,
            |state| {
                state.waiting -= 1;
                state.is_alone = true;
            },
        );
        Self(())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        TURNS.change(|state| state.is_alone = false);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn sharers_run_together_and_others_alone() {
        let (sharing, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|threads| {
            for n in 0..12 {
                let (sharing, most) = (&sharing, &most);
                threads.spawn(move || {
                    if n % 4 == 3 {
                        let _alone = Alone::take();
                        assert_eq!(sharing.load(SeqCst), 0);
                        thread::sleep(Duration::from_millis(5));
                        assert_eq!(sharing.load(SeqCst), 0);
                        return;
                    }
                    share();
                    share();
                    most.fetch_max(sharing.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::sleep(Duration::from_millis(50));
                    sharing.fetch_sub(1, SeqCst);
                });
            }
        });
        assert!(most.load(SeqCst) > 1);
    }
}
