//! Bodies that arrive completely, too large, slowly, or not at all.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use helm_guard_core::guard::Reason;
use rstest::rstest;
use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1024 * KIB;

/// An UPDATE whose new object has `padding` bytes of padding.
fn review(padding: usize) -> String {
    let object = json!({"metadata": {"name": "web"}, "data": {"pad": "<".repeat(padding)}});
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u-1",
        "kind":{{"group":"","version":"v1","kind":"ConfigMap"}},"name":"web","namespace":"shop",
        "operation":"UPDATE","userInfo":{{"username":"R\u0026D"}},"object":{object},
        "oldObject":{object},"dryRun":true,"options":{{"dryRun":["All"]}}}}}}"#
    )
}

/// A body in chunks, of unknown length, which only ends if `ends` is set.
fn pieces(text: &str, ends: bool) -> Body {
    let chunks: Vec<Result<Bytes, Infallible>> = text
        .as_bytes()
        .chunks(100 * KIB)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    let chunks = stream::iter(chunks);
    if ends {
        Body::from_stream(chunks)
    } else {
        Body::from_stream(chunks.chain(stream::pending()))
    }
}

fn deadline() -> Instant {
    now() + 3 * SECOND
}

#[rstest]
#[case::of_known_length(Body::from(review(MIB)))]
#[case::in_pieces(pieces(&review(MIB), true))]
#[tokio::test]
async fn a_review_within_the_limit_is_read_completely(#[case] body: Body) {
    let intake = Intake::default();
    let taken = intake.take(body, 3 * MIB, deadline()).await.unwrap();
    let request = taken.request().unwrap();
    assert_eq!(request.unread, None);
    assert!(request.object.is_some() && request.old_object.is_some());
}

#[rstest]
#[case::of_known_length(Body::from(review(MIB)))]
#[case::in_pieces(pieces(&review(MIB), true))]
#[tokio::test]
async fn of_a_larger_review_the_head_and_the_dry_run_are_read(#[case] body: Body) {
    let intake = Intake::default();
    let taken = intake.take(body, MIB, deadline()).await.unwrap();
    let request = taken.request().unwrap();
    let size = review(MIB).len() as u64;
    assert_eq!(request.unread, Some(Unread::TooLarge { size, limit: MIB }));
    assert_eq!((&*request.uid, &*request.name), ("u-1", "web"));
    assert_eq!(request.user_info.username, "R&D");
    assert_eq!(request.object, None);
    assert!(request.dry_run);
}

#[rstest]
#[case::within_the_limit(MIB, Unread::Late)]
#[case::beyond_it(100, Unread::OverBudget { size: 0 })]
#[tokio::test(start_paused = true)]
async fn a_truncated_body_is_answered_in_time_and_releases_its_memory(
    #[case] limit: usize,
    #[case] expected: Unread,
) {
    let intake = Intake::default();
    let text = review(400 * KIB);
    let half = text.get(..text.len() / 2).unwrap();
    let until = deadline();
    let takes = (0..40).map(|_| intake.take(pieces(half, false), limit, until));
    for taken in futures_util::future::join_all(takes).await {
        let taken = taken.unwrap();
        let unread = taken.request().unwrap().unread.unwrap();
        assert_eq!(
            unread.reason() == Reason::TooLarge,
            limit == 100,
            "{expected:?}"
        );
    }
    assert!(now() < until);
    let whole = intake.take(Body::from(review(MIB)), 3 * MIB, deadline());
    assert_eq!(whole.await.unwrap().request().unwrap().unread, None);
}

#[tokio::test(start_paused = true)]
async fn without_memory_only_heads_and_small_reviews_are_read() {
    let intake = Intake::new(IntakeLimits {
        small: MIB,
        small_together: 2 * MIB,
        large_together: 3 * MIB,
        ..IntakeLimits::default()
    });
    let large = || Body::from(review(MIB));
    let first = intake.take(large(), 3 * MIB, deadline()).await.unwrap();
    let second = intake.take(large(), 3 * MIB, deadline()).await.unwrap();
    let size = review(MIB).len() as u64;
    let unread = Some(Unread::OverBudget { size });
    assert_eq!(second.request().unwrap().unread, unread);
    let small = intake.take(Body::from(review(40 * KIB)), 3 * MIB, deadline());
    let small = small.now_or_never().unwrap().unwrap();
    assert_eq!(small.request().unwrap().unread, None);
    drop(first);
    let third = intake.take(large(), 3 * MIB, deadline()).await.unwrap();
    assert_eq!(third.request().unwrap().unread, None);
}

#[tokio::test(start_paused = true)]
async fn a_review_of_ordinary_size_needs_no_free_memory() {
    let intake = Intake::new(IntakeLimits {
        small: MIB,
        small_together: 0,
        large_together: 0,
        ..IntakeLimits::default()
    });
    let taken = intake.take(Body::from(review(10 * KIB)), MIB, deadline());
    let taken = taken.now_or_never().unwrap().unwrap();
    assert_eq!(taken.request().unwrap().unread, None);
    let larger = intake.take(Body::from(review(40 * KIB)), MIB, deadline());
    let unread = larger.await.unwrap().request().unwrap().unread.unwrap();
    assert_eq!(unread.reason(), Reason::OverBudget);
}

#[tokio::test(start_paused = true)]
async fn a_review_waits_for_free_memory() {
    let intake = Arc::new(Intake::new(IntakeLimits {
        small: KIB,
        small_together: KIB,
        large_together: 3 * MIB,
        ..IntakeLimits::default()
    }));
    let large = || Body::from(review(MIB));
    let first = intake.take(large(), 3 * MIB, deadline()).await.unwrap();
    let waiting = tokio::spawn({
        let intake = Arc::clone(&intake);
        async move {
            let taken = intake.take(large(), 3 * MIB, deadline()).await.unwrap();
            taken.request().unwrap().unread
        }
    });
    tokio::time::sleep(SECOND).await;
    drop(first);
    assert_eq!(waiting.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_review_beyond_the_concurrency_limit_waits_and_is_answered_from_its_head() {
    let intake = Intake::new(IntakeLimits {
        evaluated: 2,
        ..IntakeLimits::default()
    });
    let take = || intake.take(Body::from(review(KIB)), MIB, deadline());
    let (first, _second) = (take().await.unwrap(), take().await.unwrap());
    assert_eq!(first.request().unwrap().unread, None);
    let until = deadline();
    let third = take().await.unwrap();
    assert!(now() < until);
    let unread = third.request().unwrap().unread.unwrap();
    assert_eq!(unread.reason(), Reason::OverBudget);
    drop(first);
    assert_eq!(take().await.unwrap().request().unwrap().unread, None);
}

#[tokio::test(start_paused = true)]
async fn reviews_beyond_the_total_limit_are_rejected_at_once() {
    let intake = Intake::new(IntakeLimits {
        evaluated: 1,
        taken: 3,
        ..IntakeLimits::default()
    });
    let take = || intake.take(Body::from(review(KIB)), MIB, deadline());
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(take().await.unwrap());
    }
    let shed = take().now_or_never().unwrap().unwrap_err();
    assert_eq!(shed, EnvelopeError::Shed);
    assert_eq!(shed.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    taken.pop();
    assert!(take().await.is_ok());
}

#[rstest]
#[case::larger_than_may_be(10)]
#[case::not_in_time(3 * MIB)]
#[tokio::test(start_paused = true)]
async fn a_body_without_a_readable_head_is_rejected(#[case] limit: usize) {
    let intake = Intake::default();
    let taken = intake.take(pieces("{\"padding\": 1, ", false), limit, deadline());
    let error = taken.await.unwrap_err();
    assert!(matches!(
        error,
        EnvelopeError::TooLarge | EnvelopeError::Unreceived
    ));
}
