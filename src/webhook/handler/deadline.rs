//! How long an answer may take.

use std::time::Duration;

use jiff::SignedDuration;

/// `timeoutSeconds` of the registration, for a caller that does not say how long it waits.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// The API server allows no more than this (`validateWebhook` of admissionregistration).
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// The time in which an answer must be ready.
///
/// The API server appends its own timeout to the URL, as `?timeout=3s`
/// (`k8s.io/apiserver/pkg/admission/plugin/webhook/validating/dispatcher.go`). A sixth of it is
/// reserved for the response and for a busy machine: 2.5 of 3 seconds remain.
pub(super) fn of(query: Option<&str>) -> Duration {
    let timeout = query
        .and_then(timeout)
        .filter(|timeout| !timeout.is_zero())
        .map_or(DEFAULT_TIMEOUT, |timeout| timeout.min(MAX_TIMEOUT));
    timeout * 5 / 6
}

fn timeout(query: &str) -> Option<Duration> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="))?;
    let duration: SignedDuration = value.parse().ok()?;
    Duration::try_from(duration).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_registered(Some("timeout=3s"), 2500)]
    #[case::among_others(Some("a=b&timeout=6s"), 5000)]
    #[case::as_go_writes_a_minute_and_more(Some("timeout=1m0s"), 25_000)]
    #[case::part_of_a_second(Some("timeout=600ms"), 500)]
    #[case::unsaid(None, 2500)]
    #[case::unreadable(Some("timeout=soon"), 2500)]
    #[case::negative(Some("timeout=-3s"), 2500)]
    #[case::no_time_at_all(Some("timeout=0s"), 2500)]
    fn an_answer_is_ready_before_the_api_server_stops_waiting(
        #[case] query: Option<&str>,
        #[case] millis: u64,
    ) {
        assert_eq!(of(query), Duration::from_millis(millis));
    }
}
