//! Limits the log lines about the records of one namespace, so that writing records repeatedly cannot
//! fill the log. The metrics still count everything.
//!
//! Invariants
//! - No namespace gets more than [`MOST`] lines in a [`WINDOW`], and all namespaces together no
//!   more than [`NAMESPACES`] times as many.
//! - Omitted lines are counted, and the first line of a later window reports them.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Lines about one namespace in a window: more than an operator would read.
const MOST: u64 = 100;

const WINDOW: Duration = Duration::from_secs(60);

/// Namespaces that are counted separately; the others share one count.
const NAMESPACES: usize = 256;

/// Log lines of one kind.
#[derive(Default)]
pub(super) struct Lines {
    namespaces: Mutex<HashMap<Box<str>, LoggedCount>>,
}

struct LoggedCount {
    since: Instant,
    logged: u64,
}

/// Unreadable records.
pub(super) static UNREADABLE: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Objects that are labeled as records but are not records.
pub(super) static JUNK: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Unreadable documents of manifests.
pub(super) static DOCUMENTS: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Records that are not stored in full.
pub(super) static OVER_BUDGET: LazyLock<Lines> = LazyLock::new(Lines::default);

impl Lines {
    /// Whether one more line about records in `namespace` may be logged.
    pub(crate) fn may_log(&self, namespace: &str) -> bool {
        let (may_log, left_out) = self.count(namespace, Instant::now());
        if left_out > 0 {
            tracing::warn!(
                namespace,
                left_out,
                "omitted log lines about release records"
            );
        }
        may_log
    }

    /// Whether one more line may be logged, and how many were omitted in an earlier window.
    fn count(&self, namespace: &str, now: Instant) -> (bool, u64) {
        let is_past = |count: &LoggedCount| now.duration_since(count.since) >= WINDOW;
        let mut namespaces = self.namespaces.lock();
        if namespaces.len() >= NAMESPACES && !namespaces.contains_key(namespace) {
            // Omitted lines are reported with the next line of their namespace.
            namespaces.retain(|_, count| !is_past(count) || count.logged > MOST);
        }
        let of = if namespaces.len() < NAMESPACES || namespaces.contains_key(namespace) {
            namespace
        } else {
            ""
        };
        let count = namespaces.entry(of.into()).or_insert(LoggedCount {
            since: now,
            logged: 0,
        });
        let mut left_out = 0;
        if is_past(count) {
            left_out = count.logged.saturating_sub(MOST);
            *count = LoggedCount {
                since: now,
                logged: 0,
            };
        }
        count.logged += 1;
        (count.logged <= MOST, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_limited_per_namespace_and_omitted_ones_are_reported_later() {
        let (lines, start) = (Lines::default(), Instant::now());
        let logged = (0..100_000).filter(|_| lines.count("evil", start).0);
        assert_eq!(logged.count(), 100);
        assert_eq!(lines.count("shop", start), (true, 0));
        let later = start + WINDOW;
        assert_eq!(lines.count("evil", later), (true, 99_900));
        assert_eq!(lines.count("evil", later), (true, 0));
        assert_eq!(lines.count("shop", later), (true, 0));
    }

    #[test]
    fn very_many_namespaces_share_one_count() {
        let (lines, start) = (Lines::default(), Instant::now());
        let names = (0..100_000).map(|number| format!("evil-{number}"));
        let logged = names.filter(|name| lines.count(name, start).0).count();
        assert_eq!(logged, NAMESPACES + 100);
        assert!(lines.namespaces.lock().len() <= NAMESPACES + 1);
        let later = start + WINDOW;
        assert_eq!(lines.count("shop", later), (true, 0));
    }
}
