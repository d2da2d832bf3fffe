//! The index of a fake API server: watches, fetches and what they report.

mod fake;
mod read_through;

use std::time::Duration;

use helm_guard_core::{
    guard::{Claim, ObjectRef, RevisionObject},
    helm::{ReleaseName, storage::Driver},
};
use rstest::rstest;
use tokio::{task::JoinSet, time::Instant};

use self::fake::Fake;
use super::{health::Readiness, *};

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
