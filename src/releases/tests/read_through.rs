//! Reading records before a denial.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_read_through_is_ahead_of_the_watch_and_updates_the_index() {
    let running = deployed().await;
    running.fake.mute();
    running.fake.put(2, "pending-upgrade", "a:2");
    assert_eq!(running.indexed(), expected_images(&[(1, "a:1")]));
    assert_eq!(
        running.fresh().await.unwrap(),
        expected_images(&[(2, "a:2"), (1, "a:1")])
    );
    running
        .until("learned", |r| {
            r.indexed() == expected_images(&[(2, "a:2"), (1, "a:1")])
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_read_through_fetches_only_unknown_bodies() {
    let running = deployed().await;
    let before = running.fake.requests("/secrets/").len();
    assert_eq!(
        running.fresh().await.unwrap(),
        expected_images(&[(1, "a:1")])
    );
    assert_eq!(running.fake.requests("/secrets/").len(), before);
    let list = running.fake.requests("/namespaces/shop/secrets?").remove(0);
    assert!(list.contains("owner%3Dhelm%2Cname%3Dweb"), "{list}");
    assert!(!list.contains("resourceVersion"), "{list}");
    assert!(
        list.contains("fieldSelector=type%3Dhelm.sh%2Frelease.v1"),
        "{list}"
    );

    running.fake.mute();
    running.fake.put(1, "deployed", "rewritten");
    assert_eq!(
        running.fresh().await.unwrap(),
        expected_images(&[(1, "rewritten")])
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_of_a_deleted_release_is_not_claimed() {
    let running = deployed().await;
    running.fake.mute();
    running.fake.delete(1);
    assert_eq!(running.fresh().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_through_is_an_error_and_not_a_missing_record() {
    let running = deployed().await;
    running.fake.fail("/namespaces/shop/secrets?", 500, 2);
    let error = running.fresh().await.unwrap_err();
    assert!(matches!(error, ReadThroughError::List { .. }), "{error}");
    assert!(error.to_string().contains("shop/web"), "{error}");

    running.fake.mute();
    running.fake.put(1, "deployed", "a:2");
    running.fake.fail("/secrets/", 500, 2);
    let error = running.fresh().await.unwrap_err();
    assert!(matches!(error, ReadThroughError::Get { .. }), "{error}");
    assert_eq!(running.releases.stats().read_through_errors, 2);

    assert_eq!(
        running.fresh().await.unwrap(),
        expected_images(&[(1, "a:2")]),
        "the next one works"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_deleted_between_list_and_fetch_causes_another_list() {
    let running = deployed().await;
    running.fake.mute();
    running.fake.put(1, "deployed", "a:2");
    running.fake.fail("/secrets/", 404, 1);
    assert_eq!(
        running.fresh().await.unwrap(),
        expected_images(&[(1, "a:2")])
    );
    assert_eq!(running.lists(), 2);

    running.fake.put(1, "deployed", "a:3");
    running.fake.fail("/secrets/", 404, 100);
    let error = running.fresh().await.unwrap_err();
    assert!(
        matches!(error, ReadThroughError::Unsteady { .. }),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_api_server_delays_no_longer_than_the_deadline() {
    let running = deployed().await;
    let gate = running.fake.gate();
    let started = Instant::now();
    let error = running.fresh().await.unwrap_err();
    assert!(matches!(error, ReadThroughError::Deadline), "{error}");
    assert!(started.elapsed() < Duration::from_secs(3));
    gate.add_permits(100);
    assert_eq!(
        running.fresh().await.unwrap(),
        expected_images(&[(1, "a:1")]),
        "the next one works"
    );
}

#[tokio::test(start_paused = true)]
async fn concurrent_read_throughs_share_a_list_started_after_them() {
    let running = Arc::new(deployed().await);
    let gate = running.fake.gate();
    let ask = |running: &Arc<Running>| {
        let running = Arc::clone(running);
        tokio::spawn(async move { running.fresh().await.unwrap() })
    };
    let first = ask(&running);
    running
        .until("the first list under way", |r| r.lists() == 1)
        .await;

    // Written after the first list was answered, before the other requests.
    running.fake.mute();
    running.fake.put(2, "pending-upgrade", "a:2");
    let others: Vec<_> = (0..50).map(|_| ask(&running)).collect();
    tokio::task::yield_now().await;
    gate.add_permits(100);

    assert_eq!(first.await.unwrap(), expected_images(&[(1, "a:1")]));
    for other in others {
        assert_eq!(
            other.await.unwrap(),
            expected_images(&[(2, "a:2"), (1, "a:1")])
        );
    }
    assert_eq!(running.lists(), 2);
    assert_eq!(running.releases.stats().read_through_lists, 2);
    assert_eq!(running.releases.stats().read_throughs, 51);
}

/// A call that fails once, or a dead connection, only causes a delay.
#[rstest]
#[case::a_list("/namespaces/shop/secrets?")]
#[case::a_record("/secrets/")]
#[tokio::test(start_paused = true)]
async fn a_read_that_fails_once_is_retried(#[case] line: &str) {
    let running = deployed().await;
    running.fake.mute();
    running.fake.put(1, "deployed", "a:2");
    running.fake.fail(line, 500, 1);
    assert_eq!(
        running.fresh().await.unwrap(),
        expected_images(&[(1, "a:2")])
    );
}

/// After the first call without an answer, the pool is not used.
#[rstest]
#[case::a_list("/namespaces/shop/secrets?", 1)]
#[case::bodies("/secrets/", 1)]
#[case::everything("/namespaces/shop/", 1)]
#[tokio::test(start_paused = true)]
async fn a_hanging_read_is_repeated_on_another_connection(#[case] line: &str, #[case] hung: usize) {
    let (fake, pooled, unpooled) = Fake::start_twice();
    fake.put(1, "deployed", "a:1");
    let running = start(fake, Clients::new(pooled, unpooled));
    running
        .until("ready", |r| r.releases.readiness().ready)
        .await;
    running.fake.mute();
    running.fake.put(1, "deployed", "a:2");
    running.fake.put(2, "pending-upgrade", "a:3");
    running.fake.hang_pooled(line);
    let started = Instant::now();
    let expected = expected_images(&[(2, "a:3"), (1, "a:2")]);
    assert_eq!(running.fresh().await.unwrap(), expected);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(running.fake.hung(), hung);
}

/// Whoever changes an object may name any release in it.
#[tokio::test(start_paused = true)]
async fn an_unreadable_named_release_does_not_affect_the_others() {
    let running = deployed().await;
    running.fake.fail("/namespaces/evil/", 500, 100);
    let claims = running.releases.claims("apps", "Deployment", "shop", "web");
    let named = [ReleaseName {
        namespace: "evil".into(),
        name: "x".into(),
    }];
    let wanted = WantedRecords {
        claims: &claims,
        named: &named,
    };
    let deadline = Instant::now() + Duration::from_secs(2);
    let reading = running
        .read_through
        .fresh_claims(&DEPLOYMENT, &wanted, deadline.into_std());
    let fresh = reading.await;
    assert_eq!(images(&fresh.claims), expected_images(&[(1, "a:1")]));
    assert!(
        fresh
            .unread
            .iter()
            .all(|unread| *unread.storage.namespace == *"evil")
    );
    assert!(!fresh.unread.is_empty());
}
