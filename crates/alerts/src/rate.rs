//! The recent rate of denials.

use std::{collections::VecDeque, time::Duration};

use helm_guard_core::api::policy::alerts::AlertRate;
use tokio::time::Instant;

/// A sliding window. It remembers only as many denials as exceed the threshold.
#[derive(Debug)]
pub(crate) struct Rate {
    above: usize,
    within: Duration,
    denials: VecDeque<Instant>,
    alert_times: Option<Instant>,
}

impl Rate {
    /// An empty one.
    pub(crate) fn new(rate: AlertRate) -> Self {
        Self {
            above: usize::try_from(rate.above).unwrap_or(usize::MAX),
            within: rate.within.get().unsigned_abs(),
            denials: VecDeque::new(),
            alert_times: None,
        }
    }

    /// Counts a denial. True if this exceeds the threshold, at most once per window.
    pub(crate) fn denied(&mut self, now: Instant) -> bool {
        let is_past = |at: Instant| now.duration_since(at) >= self.within;
        while self.denials.front().copied().is_some_and(is_past) || self.denials.len() > self.above
        {
            self.denials.pop_front();
        }
        self.denials.push_back(now);
        let too_many = self.denials.len() > self.above;
        let tell = too_many && self.alert_times.is_none_or(is_past);
        if tell {
            self.alert_times = Some(now);
        }
        tell
    }
}

#[cfg(test)]
mod tests {
    use helm_guard_core::api::Span;

    use super::*;

    /// The seconds at which an alert is raised.
    fn alert_times(above: u32, denials: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let start = Instant::now();
        let mut rate = Rate::new(AlertRate {
            above,
            within: Span::seconds(60),
        });
        let at = |second: &u64| rate.denied(start + Duration::from_secs(*second));
        denials.into_iter().filter(at).collect()
    }

    #[test]
    fn exceeding_the_threshold_is_alerted_once_per_window() {
        assert_eq!(alert_times(3, [0, 1, 2]), [0; 0]);
        assert_eq!(alert_times(3, [0, 1, 2, 3, 4, 5]), [3]);
        assert_eq!(alert_times(3, (0..200).step_by(5)), [15, 75, 135, 195]);
    }

    #[test]
    fn the_window_slides() {
        // Four in any minute, but in different windows.
        assert_eq!(alert_times(3, [0, 25, 50, 75, 100, 125]), [0; 0]);
        assert_eq!(alert_times(3, [0, 50, 55, 59, 60]), [59]);
        assert_eq!(alert_times(3, [0, 50, 55, 60, 61]), [61]);
    }

    #[test]
    fn memory_is_limited_by_the_threshold() {
        let mut rate = Rate::new(AlertRate {
            above: 2,
            within: Span::hours(9999),
        });
        let now = Instant::now();
        let alert_times = (0..10_000).filter(|_| rate.denied(now)).count();
        assert_eq!((alert_times, rate.denials.len()), (1, 3));
    }
}
