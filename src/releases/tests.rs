use std::time::Duration;

use helm_guard_core::{
    guard::{Claim, ObjectRef, RevisionObject},
    helm::{ReleaseName, storage::Driver},
};
use rstest::rstest;
use tokio::{task::JoinSet, time::Instant};

use self::fake::Fake;
use super::*;

mod fake;

/// The index of a fake API server, filled by a worker that stops with the test.
struct Running {
    fake: Arc<Fake>,
    releases: Releases,
    read_through: ReadThrough,
    _worker: JoinSet<()>,
}

fn start(fake: Arc<Fake>, clients: impl Into<Clients>) -> Running {
    let config = Config {
        drivers: vec![Driver::Secret, Driver::ConfigMap],
        ..Config::default()
    };
    let (releases, worker) = Releases::new(clients, &config);
    let mut tasks = JoinSet::new();
    tasks.spawn(worker.run());
    Running {
        fake,
        read_through: ReadThrough::new(&releases),
        releases,
        _worker: tasks,
    }
}

/// A release with one deployed revision, fully indexed.
async fn deployed() -> Running {
    let (fake, client) = Fake::start();
    fake.put(1, "deployed", "a:1");
    let running = start(fake, client);
    running
        .until("ready", |r| r.releases.readiness().ready)
        .await;
    running
}

const DEPLOYMENT: ObjectRef<'static> = ObjectRef {
    group: "apps",
    kind: "Deployment",
    namespace: "shop",
    name: std::borrow::Cow::Borrowed("web"),
};

impl Running {
    /// Waits until `condition` holds; time is virtual.
    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let result = tokio::time::timeout(Duration::from_secs(600), wait).await;
        let (readiness, stats) = (self.releases.readiness(), self.releases.stats());
        assert!(result.is_ok(), "never {what}: {readiness:?} {stats:?}");
    }

    fn indexed(&self) -> Vec<(u32, String)> {
        images(&self.releases.claims("apps", "Deployment", "shop", "web"))
    }

    async fn fresh(&self) -> Result<Vec<(u32, String)>, ReadThroughError> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let claims = self.releases.claims("apps", "Deployment", "shop", "web");
        let wanted = WantedRecords {
            claims: &claims,
            named: &[],
        };
        let reading = self
            .read_through
            .fresh_claims(&DEPLOYMENT, &wanted, deadline.into_std());
        let mut fresh = reading.await;
        match fresh.unread.pop() {
            Some(unread) => Err(unread.error),
            None => Ok(images(&fresh.claims)),
        }
    }

    fn lists(&self) -> usize {
        self.fake.requests("/namespaces/shop/secrets?").len()
    }
}

/// Each revision's image: `-` if it does not declare the object, `?` if it is unreadable.
fn images(claims: &[Claim]) -> Vec<(u32, String)> {
    let image = |held: &RevisionObject| match held {
        RevisionObject::Declared(object) => {
            let json: serde_json::Value = serde_json::from_str(&object.json).unwrap();
            json["spec"]["image"].as_str().unwrap().to_owned()
        }
        RevisionObject::Absent => "-".into(),
        RevisionObject::Unreadable => "?".into(),
    };
    claims
        .iter()
        .flat_map(|claim| &claim.revisions)
        .map(|revision| (revision.revision, image(&revision.held)))
        .collect()
}

fn expected_images(pairs: &[(u32, &str)]) -> Vec<(u32, String)> {
    pairs
        .iter()
        .map(|(revision, word)| (*revision, (*word).to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn records_are_indexed_and_only_active_bodies_are_fetched() {
    let (fake, client) = Fake::start();
    for revision in 1..=9 {
        fake.put(revision, "superseded", "old");
    }
    fake.put(10, "deployed", "a:1");
    let running = start(fake, client);
    assert!(!running.releases.readiness().ready);
    assert!(running.releases.readiness().missing[0].contains("not listed yet"));
    running
        .until("ready", |r| r.releases.readiness().ready)
        .await;

    assert_eq!(running.indexed(), expected_images(&[(10, "a:1")]));
    assert_eq!(
        running.releases.readiness(),
        Readiness {
            ready: true,
            ..Readiness::default()
        }
    );
    let bodies = running.fake.requests("/secrets/");
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let lists = running.fake.requests("/secrets?");
    assert!(lists[0].contains("labelSelector=owner%3Dhelm"), "{lists:?}");
    assert!(
        lists[0].contains("fieldSelector=type%3Dhelm.sh%2Frelease.v1"),
        "{lists:?}"
    );

    let stats = running.releases.stats();
    assert_eq!((stats.releases, stats.revisions, stats.objects), (1, 10, 1));
    assert_eq!((stats.watches_healthy, stats.watches), (2, 2));
    let info = running.releases.release_infos().next().unwrap();
    assert_eq!(
        (info.chart.as_str(), info.chart_version.as_str()),
        ("web", "1.0.0")
    );
    assert_eq!(info.last_deployed.as_deref(), Some("2026-01-02T03:04:05Z"));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_reported_by_the_watch_reaches_the_index() {
    let running = deployed().await;
    running.fake.put(2, "pending-upgrade", "a:2");
    running
        .until("both", |r| {
            r.indexed() == expected_images(&[(2, "a:2"), (1, "a:1")])
        })
        .await;
    running.fake.put(1, "superseded", "a:1");
    running.fake.put(2, "deployed", "a:2");
    running
        .until("the new one", |r| {
            r.indexed() == expected_images(&[(2, "a:2")])
        })
        .await;
    running.fake.delete(1);
    running.fake.delete(2);
    running
        .until("nothing", |r| r.releases.stats().revisions == 0)
        .await;
    assert_eq!(running.indexed(), []);
}

#[tokio::test(start_paused = true)]
async fn missing_rights_prevent_readiness_and_are_reported_until_granted() {
    let (fake, client) = Fake::start();
    fake.put(1, "deployed", "a:1");
    fake.fail("/configmaps?", 500, 5);
    fake.fail("/secrets?", 403, 5);
    let running = start(fake, client);
    running
        .until("named", |r| {
            let missing = r.releases.readiness().missing.join("\n");
            missing.contains("ConfigMaps") && missing.contains("500")
        })
        .await;
    assert!(!running.releases.readiness().ready);
    running
        .until("ready", |r| r.releases.readiness().ready)
        .await;
    // A forbidden driver does not delay readiness, so its failures may come later.
    running
        .until("each failure is counted", |r| {
            r.releases.stats().watch_errors == 10
        })
        .await;
}

/// The driver is not used, or its records should not be guarded.
#[tokio::test(start_paused = true)]
async fn a_forbidden_driver_is_skipped_and_reported() {
    let (fake, client) = Fake::start();
    fake.put(1, "deployed", "a:1");
    fake.fail("/configmaps?", 403, 1000);
    let running = start(fake, client);
    running
        .until("ready", |r| r.releases.readiness().ready)
        .await;
    running
        .until("named", |r| {
            let warnings = r.releases.readiness().warnings.join("\n");
            warnings.contains("ConfigMaps of all namespaces: not read") && warnings.contains("403")
        })
        .await;
    assert_eq!(running.indexed(), expected_images(&[(1, "a:1")]));
}

#[tokio::test(start_paused = true)]
async fn a_guard_without_a_readable_driver_is_not_ready() {
    let (fake, client) = Fake::start();
    fake.fail("/configmaps?", 403, 1000);
    fake.fail("/secrets?", 403, 1000);
    let running = start(fake, client);
    running
        .until("both refused", |r| r.releases.stats().watch_errors > 5)
        .await;
    assert!(!running.releases.readiness().ready);
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_relists_and_drops_deleted_records() {
    let running = deployed().await;
    running.fake.mute();
    running.fake.delete(1);
    running.fake.put(2, "deployed", "a:2");
    running.fake.expire_watches();
    running
        .until("listed again", |r| {
            r.indexed() == expected_images(&[(2, "a:2")])
        })
        .await;
    assert_eq!(running.releases.stats().revisions, 1);
    assert!(
        running.releases.readiness().ready,
        "readiness does not fall back"
    );
}

#[rstest]
#[case::no_base64("%%%")]
#[case::no_json("bm90IGpzb24=")]
#[case::another_release(&fake::payload(7, "deployed", "a:1"))]
#[tokio::test(start_paused = true)]
async fn an_undecodable_record_is_reported_and_recovers(#[case] payload: &str) {
    let (fake, client) = Fake::start();
    fake.put_payload(1, "deployed", payload);
    let running = start(fake, client);
    running
        .until("ready", |r| r.releases.readiness().ready)
        .await;

    let warnings = running.releases.readiness().warnings;
    assert_eq!(warnings, ["unreadable release records: shop/web"]);
    let stats = running.releases.stats();
    assert_eq!((stats.unreadable, stats.decode_errors), (1, 1));
    assert!(running.releases.is_unreadable("shop", "web"));

    running.fake.put(1, "deployed", "a:1");
    running
        .until("healed", |r| r.indexed() == expected_images(&[(1, "a:1")]))
        .await;
    assert_eq!(running.releases.stats().unreadable, 0);
}

/// One of three documents is read.
#[tokio::test(start_paused = true)]
async fn unreadable_documents_are_reported_and_counted_and_the_others_count() {
    let (fake, client) = Fake::start();
    let large = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{a: {}}}\n",
        "x".repeat(4 << 20)
    );
    let documents = ["{[", &large, &fake::deployment("a:1")];
    fake.put_payload(1, "deployed", &fake::payload_of(1, "deployed", &documents));
    let running = start(fake, client);
    running
        .until("ready", |r| r.releases.readiness().ready)
        .await;

    assert_eq!(running.indexed(), expected_images(&[(1, "a:1")]));
    let warnings = running.releases.readiness().warnings;
    let expected = "release records with unreadable documents: shop/web";
    assert_eq!(warnings, [expected]);
    let stats = running.releases.stats();
    assert_eq!((stats.unreadable, stats.document_problems), (0, 2));
    assert!(running.releases.is_unreadable("shop", "web"));
    assert!(running.releases.any_unreadable());

    running.fake.put(1, "deployed", "a:1");
    running
        .until("healed", |r| !r.releases.any_unreadable())
        .await;
    assert!(running.releases.readiness().warnings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_is_retried_until_it_succeeds() {
    let (fake, client) = Fake::start();
    fake.put(1, "deployed", "a:1");
    fake.fail("/secrets/", 500, 6);
    let running = start(fake, client);
    running
        .until("ready though unreadable", |r| r.releases.readiness().ready)
        .await;
    assert!(running.releases.is_unreadable("shop", "web"));
    running
        .until("fetched", |r| r.indexed() == expected_images(&[(1, "a:1")]))
        .await;
    assert_eq!(running.releases.stats().fetch_errors, 6);
}

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
