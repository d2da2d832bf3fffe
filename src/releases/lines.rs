//! How many lines of the log may be about the records of one namespace: whoever writes records, again and
//! again, must not fill the log. The metrics count on.
//!
//! Invariants
//! - No namespace gets more than [`MOST`] lines in a [`WINDOW`], and all together no more than
//!   [`NAMESPACES`] times as many.
//! - What was left out is counted, and told by the first line of a later window.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Lines about one namespace in a window: more than an operator reads.
const MOST: u64 = 100;

const WINDOW: Duration = Duration::from_secs(60);

/// Namespaces that are counted each for itself; the others share one count.
const NAMESPACES: usize = 256;

/// Lines of one kind.
#[derive(Default)]
pub(super) struct Lines {
    namespaces: Mutex<HashMap<Box<str>, Count>>,
}

struct Count {
    since: Instant,
    told: u64,
}

/// Records that can not be read.
pub(super) static UNREADABLE: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Objects that are labelled as records and are none.
pub(super) static JUNK: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Documents of manifests that can not be read.
pub(super) static DOCUMENTS: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Records that are not kept whole.
pub(super) static OVER_BUDGET: LazyLock<Lines> = LazyLock::new(Lines::default);

impl Lines {
    /// Whether there may be one more line about records in `namespace`.
    pub fn may_tell(&self, namespace: &str) -> bool {
        let (may_tell, left_out) = self.count(namespace, Instant::now());
        if left_out > 0 {
            tracing::warn!(
                namespace,
                left_out,
                "left out log lines about release records"
            );
        }
        may_tell
    }

    /// Whether there may be one more, and how many were left out in an earlier window.
    fn count(&self, namespace: &str, now: Instant) -> (bool, u64) {
        let is_past = |count: &Count| now.duration_since(count.since) >= WINDOW;
        let mut namespaces = self.namespaces.lock();
        if namespaces.len() >= NAMESPACES && !namespaces.contains_key(namespace) {
            // What was left out is told when its namespace is heard of again.
            namespaces.retain(|_, count| !is_past(count) || count.told > MOST);
        }
        let of = if namespaces.len() < NAMESPACES || namespaces.contains_key(namespace) {
            namespace
        } else {
            ""
        };
        let count = namespaces.entry(of.into()).or_insert(Count {
            since: now,
            told: 0,
        });
        let mut left_out = 0;
        if is_past(count) {
            left_out = count.told.saturating_sub(MOST);
            *count = Count {
                since: now,
                told: 0,
            };
        }
        count.told += 1;
        (count.told <= MOST, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_fills_its_own_lines_alone_and_what_is_left_out_is_told_later() {
        let (lines, start) = (Lines::default(), Instant::now());
        let told = (0..100_000).filter(|_| lines.count("evil", start).0);
        assert_eq!(told.count(), 100);
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
        let told = names.filter(|name| lines.count(name, start).0).count();
        assert_eq!(told, NAMESPACES + 100);
        assert!(lines.namespaces.lock().len() <= NAMESPACES + 1);
        let later = start + WINDOW;
        assert_eq!(lines.count("shop", later), (true, 0));
    }
}
