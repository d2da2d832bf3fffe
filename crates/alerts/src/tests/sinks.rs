//! Sinks that change, or are removed, and the end of the process.

use super::*;

#[rstest::rstest]
#[case::removed(AlertSettings::default())]
#[case::turned_elsewhere(settings(json!({"url": "http://elsewhere.example/"})))]
#[case::deafened(settings(json!({"events": ["Settled"]})))]
#[tokio::test(start_paused = true)]
async fn a_removed_sink_is_notified_at_its_old_address_despite_failures(
    #[case] next: AlertSettings,
) {
    let mut scene = scene(|attempt| Reply::Status(if attempt < 5 { 503 } else { 200 }));
    scene.alerts.apply(&settings(json!({})));
    let farewell = vec![of_guard(AlertKind::SinksChanged)];
    scene.alerts.replace(&next, farewell);
    for _ in 0..6 {
        let got = scene.next().await;
        assert_eq!((&*got.host, &*got.path), ("tickets.example", "/new"));
        assert_eq!(got.body["event"], "SinksChanged");
    }
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::SinksChanged), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_remaining_sink_is_notified_once_and_one_that_excludes_the_kind_is_not() {
    let mut scene = scene(|_| Reply::Status(200));
    let only = settings(json!({"events": ["PolicyLoosened"]}));
    scene.alerts.apply(&only);
    let farewell = [AlertKind::SinksChanged, AlertKind::PolicyLoosened].map(of_guard);
    scene.alerts.replace(&only, farewell.to_vec());
    assert_eq!(scene.next().await.body["event"], "PolicyLoosened");
    scene.settled().await;
    assert!(scene.got.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_removed_sinks() {
    let mut scene = scene(|_| Reply::Never);
    scene.alerts.apply(&settings(json!({})));
    let farewell = vec![of_guard(AlertKind::SinksChanged)];
    scene.alerts.replace(&AlertSettings::default(), farewell);
    scene.next().await;
    let begin = Instant::now();
    scene.alerts.close().await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn changed_settings_of_a_sink_apply_to_queued_alerts() {
    let mut scene = scene(|request| match request {
        0 => Reply::Status(500),
        _ => Reply::Status(200),
    });
    scene.alerts.apply(&settings(json!({})));
    for number in 0..3 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    scene.next().await;
    scene
        .alerts
        .apply(&settings(json!({"url": "http://other.example/"})));
    for _ in 0..3 {
        let got = scene.next().await;
        assert_eq!(
            (got.host.as_str(), got.path.as_str()),
            ("other.example", "/")
        );
    }
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [3, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_nothing_for_a_sink_leaves_it_alone() {
    let scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&settings(json!({})));
    let before = scene.alerts.shared.route.load_full();
    scene.alerts.apply(&settings(json!({})));
    let after = scene.alerts.shared.route.load_full();
    assert!(Arc::ptr_eq(&before.lanes[0], &after.lanes[0]));
    assert!(!after.lanes[0].retire.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_removed_sink_gets_its_queued_alerts_and_nothing_more() {
    let mut scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&settings(json!({})));
    for number in 0..3 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    scene.alerts.apply(&AlertSettings::default());
    scene.alerts.raise(Alert::break_glass(&numbered(4)));
    scene.alerts.close().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [3, 0, 0, 0]);
    assert_eq!(scene.requests.load(Ordering::SeqCst), 3);
    assert!(scene.got.try_recv().is_ok());
}

#[rstest::rstest]
#[case::refusing(|_| Reply::Status(500))]
#[case::silent(|_| Reply::Never)]
#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_sink_that_is_down(#[case] answers: fn(usize) -> Reply) {
    let scene = scene(answers);
    scene.alerts.apply(&settings(json!({})));
    for number in 0..100 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let begin = Instant::now();
    scene.alerts.close().await;
    let limit = 2 * DeliveryTiming::default().drain + Duration::from_millis(1);
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    let [sent, failed, dropped, _] = scene.outcomes(AlertKind::BreakGlass);
    assert_eq!((sent, failed + dropped, scene.queued()), (0, 100, 0));
}
