//! Which requests are repetitions of one, and count once.
//!
//! The API server calls the webhook again, with another uid, when somebody else wrote the object in between: one
//! `kubectl set image` after an upgrade conflicts with the writes of the deployment controller, and is evaluated up
//! to six times. Clients repeat unanswered requests. A repetition asks for the same values, and finds the same
//! values: the first attempt has not taken effect.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
};

use helm_guard_core::breakglass::retried::RETRY_WINDOW;
use jiff::Timestamp;

/// The recent requests of a process or of an audit log, by a hash of their content.
#[derive(Debug)]
pub(crate) struct RecentRequests {
    keys: RandomState,
    first: HashMap<u64, Timestamp>,
    most: usize,
}

impl RecentRequests {
    /// Remembers at most `most` requests. Beyond that, repetitions are counted again.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            keys: RandomState::new(),
            first: HashMap::new(),
            most,
        }
    }

    /// Whether a request with this content was seen shortly before. A series of the same requests counts once in
    /// each window.
    pub(crate) fn has(&mut self, content: &impl Hash, at: Timestamp) -> bool {
        let is_recent = |first: &Timestamp| at.duration_since(*first).abs() <= RETRY_WINDOW;
        let hash = self.keys.hash_one(content);
        if self.first.get(&hash).is_some_and(is_recent) {
            return true;
        }
        if self.first.len() >= self.most {
            self.first.retain(|_, first| is_recent(first));
        }
        if self.first.len() < self.most {
            self.first.insert(hash, at);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn the_same_request_counts_once_in_each_window() {
        let mut recent = RecentRequests::new(10);
        let asked = [
            (0, "a"),
            (1, "a"),
            (2, "b"),
            (30, "a"),
            (31, "a"),
            (60, "a"),
        ];
        let repeated = asked.map(|(second, content)| recent.has(&content, at(second)));
        assert_eq!(repeated, [false, true, false, true, false, true]);
    }

    #[test]
    fn lines_of_several_replicas_need_not_be_in_order() {
        let mut recent = RecentRequests::new(10);
        assert!(!recent.has(&"a", at(10)));
        assert!(recent.has(&"a", at(5)));
    }

    #[test]
    fn a_bounded_number_of_requests_is_remembered() {
        let mut recent = RecentRequests::new(2);
        for content in ["a", "b", "c"] {
            assert!(!recent.has(&content, at(0)));
        }
        assert!(recent.has(&"a", at(1)));
        assert!(!recent.has(&"c", at(1)), "there was no room for it");
        // What is older than the window makes room.
        assert!(!recent.has(&"c", at(31)));
        assert!(recent.has(&"c", at(32)));
        assert_eq!(recent.first.len(), 1);
    }
}
