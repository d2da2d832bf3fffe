use helm_guard_core::{
    guard::{Claim, ObjectRef, Reach, RevisionObject},
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, RevisionStatus},
    },
};
use rstest::rstest;

use super::{
    super::{
        body::{About, Parts},
        store::BodyStore,
    },
    *,
};
use crate::releases::Body;

mod dependents;
mod release_state;

/// An index, with the parts of a reader and a fetcher.
struct Fixture {
    index: Index,
    directory: Arc<Directory>,
    store: Arc<BodyStore>,
}

fn fixture() -> Fixture {
    let directory = Arc::new(Directory::default());
    Fixture {
        index: Index::new(Arc::clone(&directory)),
        directory,
        store: Arc::new(BodyStore::default()),
    }
}

mod budget;

const ALL: WatchScope = WatchScope {
    driver: Driver::Secret,
    namespace: None,
};

fn storage_in(namespace: &str, name: &str) -> Arc<StorageKey> {
    let (namespace, name) = (namespace.into(), name.into());
    Arc::new(StorageKey {
        driver: Driver::Secret,
        namespace,
        name,
    })
}

fn storage() -> Arc<StorageKey> {
    storage_in("shop", "web")
}

fn at(storage: &Arc<StorageKey>, revision: u32, status: RevisionStatus, version: u32) -> Stored {
    Stored {
        key: RecordKey {
            storage: Arc::clone(storage),
            revision,
        },
        status,
        version: version_of(revision, version),
    }
}

fn version_of(revision: u32, version: u32) -> RecordVersion {
    RecordVersion {
        uid: format!("uid-{revision}").into(),
        resource_version: version.to_string().into(),
    }
}

fn record(revision: u32, status: RevisionStatus, version: u32) -> Stored {
    at(&storage(), revision, status, version)
}

fn object(kind: &str, namespace: Option<&str>, name: &str, image: &str) -> DeclaredObject {
    DeclaredObject {
        group: if kind == "Deployment" { "apps" } else { "" }.into(),
        version: "v1".into(),
        kind: kind.into(),
        namespace: namespace.map(Into::into),
        name: name.into(),
        source: None,
        line: 1,
        keep: false,
        json: format!(r#"{{"image":"{image}"}}"#).into(),
    }
}

fn deployment(name: &str, image: &str) -> DeclaredObject {
    object("Deployment", None, name, image)
}

impl Fixture {
    fn body(&self, objects: Vec<DeclaredObject>) -> RevisionContent {
        self.body_of("shop", "web", objects)
    }

    fn body_of(
        &self,
        namespace: &str,
        name: &str,
        objects: Vec<DeclaredObject>,
    ) -> RevisionContent {
        let release = ReleaseName {
            namespace: namespace.into(),
            name: name.into(),
        };
        let about = About {
            chart: "web".into(),
            chart_version: "1.0.0".into(),
            ..About::default()
        };
        let parts = Parts {
            release,
            about,
            objects,
            problems: 0,
        };
        RevisionContent::Body(Arc::new(Body::new(parts, &self.store)))
    }

    /// A body in which this many documents could not be read.
    fn body_with_problems(&self, objects: Vec<DeclaredObject>, problems: usize) -> RevisionContent {
        let release = ReleaseName {
            namespace: "shop".into(),
            name: "web".into(),
        };
        let parts = Parts {
            release,
            about: About::default(),
            objects,
            problems,
        };
        RevisionContent::Body(Arc::new(Body::new(parts, &self.store)))
    }

    /// Applies a record and answers the demand for its body.
    fn put(&mut self, stored: &Stored, objects: Vec<DeclaredObject>) {
        let body = self.body(objects);
        self.put_body(stored, body);
    }

    fn put_body(&mut self, stored: &Stored, body: RevisionContent) {
        self.index.apply(stored.clone());
        self.index.insert_body(&stored.key, &stored.version, body);
        self.index.take_demands();
    }

    fn claims(&self, name: &str) -> Vec<Claim> {
        self.directory.claims("apps", "Deployment", "shop", name)
    }

    fn claim(&self, name: &str) -> Claim {
        let mut claims = self.claims(name);
        assert_eq!(claims.len(), 1, "claims on {name}");
        claims.remove(0)
    }

    /// The image of a Deployment in each active revision: `-` for absent, `?` for unreadable.
    fn images(&self, name: &str) -> Vec<(u32, String)> {
        images(&self.claim(name))
    }
}

fn images(claim: &Claim) -> Vec<(u32, String)> {
    let word = |held: &RevisionObject| match held {
        RevisionObject::Declared(object) => {
            let json: serde_json::Value = serde_json::from_str(&object.json).unwrap();
            json["image"].as_str().unwrap().to_owned()
        }
        RevisionObject::Absent => "-".into(),
        RevisionObject::Unreadable => "?".into(),
    };
    claim
        .revisions
        .iter()
        .map(|revision| (revision.revision, word(&revision.held)))
        .collect()
}

fn expected_images(pairs: &[(u32, &str)]) -> Vec<(u32, String)> {
    pairs
        .iter()
        .map(|(revision, word)| (*revision, (*word).to_owned()))
        .collect()
}

#[test]
fn a_deployed_release_claims_only_the_objects_of_its_manifest() {
    let mut f = fixture();
    f.put(
        &record(3, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    let claim = f.claim("web");
    assert_eq!(
        (
            claim.release.namespace.as_str(),
            claim.release.name.as_str()
        ),
        ("shop", "web")
    );
    assert_eq!((&*claim.chart, claim.phase), ("web-1.0.0", Phase::Settled));
    assert_eq!(images(&claim), expected_images(&[(3, "a:1")]));
    assert!(f.claims("other").is_empty());
    assert!(
        f.directory
            .claims("", "Deployment", "shop", "web")
            .is_empty(),
        "another group"
    );
    assert!(
        f.directory
            .claims("apps", "StatefulSet", "shop", "web")
            .is_empty(),
        "another kind"
    );
}

#[test]
fn a_copy_of_a_declared_object_in_another_namespace_is_not_claimed() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![object("Secret", None, "s", "x")],
    );
    assert_eq!(f.directory.claims("", "Secret", "shop", "s").len(), 1);
    assert!(f.directory.claims("", "Secret", "copies", "s").is_empty());
}

#[rstest]
#[case::the_release_namespace(None, "shop", true)]
#[case::empty_means_none(Some(""), "shop", true)]
#[case::as_written(Some("ops"), "ops", true)]
#[case::only_as_written(Some("ops"), "shop", false)]
#[case::cluster_scoped(None, "", true)]
#[case::cluster_scoped_with_a_namespace_written(Some("ops"), "", true)]
fn the_namespace_of_a_document(
    #[case] written: Option<&str>,
    #[case] requested: &str,
    #[case] found: bool,
) {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![object("Thing", written, "it", "x")],
    );
    assert_eq!(
        !f.directory.claims("", "Thing", requested, "it").is_empty(),
        found
    );
}

#[test]
fn a_namespace_is_cluster_scoped_although_its_requests_name_it_as_namespace() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![object("Namespace", None, "team", "x")],
    );
    assert_eq!(f.directory.claims("", "Namespace", "team", "team").len(), 1);
    assert_eq!(f.directory.claims("", "Namespace", "", "team").len(), 1);
}

#[test]
fn records_in_another_namespace_claim_in_the_namespace_of_the_body() {
    let mut f = fixture();
    let body = f.body_of("apps", "web", vec![deployment("web", "a:1")]);
    let flux = at(
        &storage_in("flux-system", "web"),
        1,
        RevisionStatus::Deployed,
        10,
    );
    f.put_body(&flux, body);
    assert!(
        f.directory
            .claims("apps", "Deployment", "flux-system", "web")
            .is_empty()
    );
    let claims = f.directory.claims("apps", "Deployment", "apps", "web");
    assert_eq!(claims[0].release.namespace, "apps");
}

#[test]
fn two_storages_of_one_release_both_claim() {
    let mut f = fixture();
    for (n, namespace) in ["shop", "flux-system"].into_iter().enumerate() {
        let body = f.body(vec![deployment("web", &format!("a:{n}"))]);
        f.put_body(
            &at(
                &storage_in(namespace, "web"),
                1,
                RevisionStatus::Deployed,
                10,
            ),
            body,
        );
    }
    let mut images: Vec<_> = f.claims("web").iter().flat_map(images).collect();
    images.sort();
    assert_eq!(images, expected_images(&[(1, "a:0"), (1, "a:1")]));
}

/// The storage namespace of one release is the target namespace of another one of that name.
#[test]
fn records_of_another_release_of_the_same_name_are_not_copies() {
    let mut f = fixture();
    let flux = at(
        &storage_in("flux-system", "web"),
        1,
        RevisionStatus::Deployed,
        10,
    );
    f.put(&flux, vec![deployment("web", "a:1")]);
    let guest = f.body_of("prod", "web", vec![deployment("web", "b:1")]);
    f.put_body(&record(1, RevisionStatus::Deployed, 11), guest);
    assert_eq!(f.claim("web").reach, Reach::Elsewhere);
    assert!(f.directory.copies().is_empty());
    // Once the release has records in its own namespace, the others are copies.
    let own = f.body(vec![deployment("web", "a:1")]);
    f.put_body(&record(2, RevisionStatus::Deployed, 12), own);
    let reaches: Vec<_> = f.claims("web").iter().map(|claim| claim.reach).collect();
    assert!(reaches.contains(&Reach::Copy), "{reaches:?}");
}

#[test]
fn removing_a_release_keeps_the_claims_of_others() {
    let mut f = fixture();
    let other = at(
        &storage_in("shop", "other"),
        1,
        RevisionStatus::Deployed,
        11,
    );
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    let body = f.body_of("shop", "other", vec![deployment("web", "b:1")]);
    f.put_body(&other, body);
    assert_eq!(f.claims("web").len(), 2);
    f.index.delete(&record(1, RevisionStatus::Deployed, 12));
    assert_eq!(f.claim("web").release.name, "other");
    f.index.delete(&other);
    assert!(f.claims("web").is_empty());
    assert!(f.directory.releases().is_empty());
}

#[test]
fn the_last_of_two_documents_for_an_object_counts() {
    let mut f = fixture();
    let objects = vec![
        deployment("web", "first"),
        deployment("api", "x"),
        object("Deployment", Some("shop"), "web", "last"),
    ];
    f.put(&record(1, RevisionStatus::Deployed, 10), objects);
    assert_eq!(f.images("web"), expected_images(&[(1, "last")]));
}

#[test]
fn an_upgrade_is_tracked_through_all_its_states() {
    use RevisionStatus::{Deployed, PendingUpgrade, Superseded};
    let mut f = fixture();
    f.put(
        &record(3, Deployed, 10),
        vec![deployment("web", "a:1"), deployment("old", "a:1")],
    );
    f.put(
        &record(4, PendingUpgrade, 11),
        vec![deployment("web", "a:2"), deployment("new", "a:2")],
    );
    assert_eq!(f.claim("web").phase, Phase::Pending);
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2"), (3, "a:1")]));
    assert_eq!(f.images("old"), expected_images(&[(4, "-"), (3, "a:1")]));
    assert_eq!(f.images("new"), expected_images(&[(4, "a:2"), (3, "-")]));

    // Helm marks the old revision superseded before the new one deployed.
    f.index.apply(record(3, Superseded, 12));
    let fetched_again = f.body(vec![deployment("web", "a:1"), deployment("old", "a:1")]);
    f.index.insert_body(
        &record(3, Superseded, 12).key,
        &version_of(3, 12),
        fetched_again,
    );
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2"), (3, "a:1")]));

    f.put(
        &record(4, Deployed, 13),
        vec![deployment("web", "a:2"), deployment("new", "a:2")],
    );
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2")]));
    assert!(f.claims("old").is_empty());
}

#[test]
fn an_uninstalled_release_is_not_guarded_and_stores_no_body() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    f.index.apply(record(1, RevisionStatus::Uninstalling, 11));
    assert_eq!(f.claim("web").phase, Phase::Uninstalling);
    f.index.apply(record(1, RevisionStatus::Uninstalled, 12));
    assert!(f.claims("web").is_empty());
    assert_eq!((f.store.bodies(), f.store.bytes()), (0, 0));
    let view = f.directory.releases().remove(0);
    assert_eq!(view.latest.as_ref().map(|about| &*about.chart), Some("web"));
}

#[test]
fn bodies_are_requested_once_and_only_for_active_revisions() {
    let mut f = fixture();
    for revision in 1..=8 {
        f.index
            .apply(record(revision, RevisionStatus::Superseded, revision));
        f.index.take_demands();
    }
    f.index.apply(record(9, RevisionStatus::Deployed, 20));
    assert_eq!(
        f.index.take_demands(),
        [
            Demand::Forget(record(8, RevisionStatus::Superseded, 8).key),
            Demand::Fetch(
                record(9, RevisionStatus::Deployed, 20).key,
                version_of(9, 20)
            ),
        ]
    );
    f.index.apply(record(9, RevisionStatus::Deployed, 20));
    assert_eq!(f.index.take_demands(), [], "a doubled event");
    assert_eq!(f.index.wanted(), 1);
    f.index.insert_body(
        &record(9, RevisionStatus::Deployed, 20).key,
        &version_of(9, 20),
        RevisionContent::Unreadable,
    );
    assert_eq!(f.index.wanted(), 0);
}

#[test]
fn a_rewritten_record_is_fetched_again_and_the_old_body_is_used_meanwhile() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    f.index.apply(record(1, RevisionStatus::Deployed, 15));
    let key = record(1, RevisionStatus::Deployed, 15).key;
    assert_eq!(
        f.index.take_demands(),
        [Demand::Fetch(key.clone(), version_of(1, 15))]
    );
    assert_eq!(f.images("web"), expected_images(&[(1, "a:1")]));
    let body = f.body(vec![deployment("web", "a:2")]);
    f.index.insert_body(&key, &version_of(1, 15), body);
    assert_eq!(f.images("web"), expected_images(&[(1, "a:2")]));
}

#[test]
fn a_body_newer_than_the_watch_is_not_fetched_twice() {
    let mut f = fixture();
    f.index.apply(record(1, RevisionStatus::PendingInstall, 10));
    f.index.take_demands();
    let body = f.body(vec![deployment("web", "a:1")]);
    f.index.insert_body(
        &record(1, RevisionStatus::Deployed, 12).key,
        &version_of(1, 12),
        body,
    );
    f.index.apply(record(1, RevisionStatus::Deployed, 12));
    assert_eq!(f.index.take_demands(), []);
}

#[test]
fn an_older_body_does_not_replace_a_newer_one() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 20),
        vec![deployment("web", "a:2")],
    );
    let late = f.body(vec![deployment("web", "a:1")]);
    f.index.insert_body(
        &record(1, RevisionStatus::Deployed, 10).key,
        &version_of(1, 10),
        late,
    );
    assert_eq!(f.images("web"), expected_images(&[(1, "a:2")]));
}

#[test]
fn while_the_new_revision_is_fetched_the_object_stays_claimed() {
    let mut f = fixture();
    f.put(
        &record(3, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    f.index.apply(record(4, RevisionStatus::PendingUpgrade, 11));
    assert_eq!(f.images("web"), expected_images(&[(3, "a:1")]), "pending");
    f.index.apply(record(3, RevisionStatus::Superseded, 12));
    f.index.apply(record(4, RevisionStatus::Deployed, 13));
    assert_eq!(
        f.images("web"),
        expected_images(&[(3, "a:1")]),
        "deployed, still not fetched"
    );
    let body = f.body(vec![deployment("web", "a:2")]);
    f.index.insert_body(
        &record(4, RevisionStatus::Deployed, 13).key,
        &version_of(4, 13),
        body,
    );
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2")]));
}

#[test]
fn an_unreadable_revision_is_reported_next_to_a_readable_one() {
    let mut f = fixture();
    f.put(
        &record(3, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    f.put_body(
        &record(4, RevisionStatus::Failed, 11),
        RevisionContent::Unreadable,
    );
    assert_eq!(f.images("web"), expected_images(&[(4, "?"), (3, "a:1")]));
    assert!(f.directory.is_unreadable("shop", "web") && f.directory.any_unreadable());
}

#[test]
fn an_unreadable_release_is_known_by_name_and_read_again_when_it_changes() {
    let mut f = fixture();
    f.put_body(
        &record(1, RevisionStatus::Deployed, 10),
        RevisionContent::Unreadable,
    );
    assert!(f.claims("web").is_empty());
    assert!(f.directory.is_unreadable("shop", "web") && f.directory.any_unreadable());
    assert!(!f.directory.is_unreadable("shop", "other"));
    f.index.apply(record(1, RevisionStatus::Deployed, 11));
    let key = record(1, RevisionStatus::Deployed, 11).key;
    assert!(
        f.index
            .take_demands()
            .contains(&Demand::Fetch(key.clone(), version_of(1, 11)))
    );
    let body = f.body(vec![deployment("web", "a:1")]);
    f.index.insert_body(&key, &version_of(1, 11), body);
    assert!(!f.directory.is_unreadable("shop", "web") && !f.directory.any_unreadable());
    assert_eq!(f.claims("web").len(), 1);
}

#[test]
fn the_fetch_of_an_unreadable_record_stops_when_the_record_is_deleted() {
    let mut f = fixture();
    f.put_body(
        &record(1, RevisionStatus::Deployed, 10),
        RevisionContent::Unreadable,
    );
    f.index.delete(&record(1, RevisionStatus::Deployed, 11));
    assert_eq!(
        f.index.take_demands(),
        [Demand::Forget(record(1, RevisionStatus::Deployed, 11).key)]
    );
}

#[test]
fn an_unreadable_record_that_becomes_active_again_is_fetched_again() {
    let mut f = fixture();
    f.put_body(
        &record(1, RevisionStatus::Deployed, 10),
        RevisionContent::Unreadable,
    );
    f.index.apply(record(2, RevisionStatus::Deployed, 11));
    f.index.take_demands();
    f.index.delete(&record(2, RevisionStatus::Deployed, 12));
    let key = record(1, RevisionStatus::Deployed, 10).key;
    let wanted = Demand::Fetch(key, version_of(1, 10));
    assert!(f.index.take_demands().contains(&wanted));
}

#[test]
fn a_relist_removes_missing_records() {
    let mut f = fixture();
    let gone = at(&storage_in("shop", "gone"), 1, RevisionStatus::Deployed, 11);
    f.put(&record(1, RevisionStatus::Superseded, 10), vec![]);
    f.put(
        &record(2, RevisionStatus::Deployed, 11),
        vec![deployment("web", "a:1")],
    );
    let body = f.body_of("shop", "gone", vec![deployment("gone", "a:1")]);
    f.put_body(&gone, body);
    f.index.relist_started(ALL);
    f.index
        .listed(&ALL, record(2, RevisionStatus::Deployed, 11));
    assert_eq!(f.claims("gone").len(), 1, "not before the list is complete");
    f.index.relist_done(&ALL);
    assert!(f.claims("gone").is_empty());
    assert_eq!(f.images("web"), expected_images(&[(2, "a:1")]));
    assert_eq!(f.directory.releases().len(), 1);
    assert_eq!(f.directory.releases()[0].records, 1);
    assert_eq!(f.index.take_demands(), []);
}

#[test]
fn a_relist_of_one_scope_does_not_affect_others() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    for scope in [
        WatchScope {
            driver: Driver::ConfigMap,
            namespace: None,
        },
        WatchScope {
            driver: Driver::Secret,
            namespace: Some("other".into()),
        },
    ] {
        f.index.relist_started(scope.clone());
        f.index.relist_done(&scope);
        assert_eq!(f.claims("web").len(), 1, "{scope:?}");
    }
}

#[test]
fn an_aborted_list_removes_nothing() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    f.index.relist_started(ALL);
    f.index.relist_started(ALL);
    f.index
        .listed(&ALL, record(1, RevisionStatus::Deployed, 10));
    f.index.relist_done(&ALL);
    assert_eq!(f.claims("web").len(), 1);
}

#[test]
fn late_events_do_not_restore_older_states() {
    let mut f = fixture();
    f.put(
        &record(1, RevisionStatus::Deployed, 20),
        vec![deployment("web", "a:1")],
    );
    f.index.apply(record(1, RevisionStatus::PendingInstall, 10));
    assert_eq!(f.claim("web").phase, Phase::Settled);
    let mut earlier = record(1, RevisionStatus::Deployed, 5);
    earlier.version.uid = "of-a-record-before".into();
    f.index.delete(&earlier);
    assert_eq!(
        f.claims("web").len(),
        1,
        "another record of that name was deleted"
    );
}

#[test]
fn deleting_an_unknown_record_does_nothing() {
    let mut f = fixture();
    f.index.delete(&record(1, RevisionStatus::Deployed, 5));
    assert!(f.directory.releases().is_empty());
}

#[test]
fn a_cluster_scoped_object_of_several_documents_is_one_claim() {
    let mut f = fixture();
    let documents = |namespaces: [Option<&str>; 3]| {
        let object = |(n, namespace)| object("ClusterRole", namespace, "r", &format!("a:{n}"));
        namespaces.into_iter().enumerate().map(object).collect()
    };
    let claims = |f: &Fixture, namespace| {
        let claims = f.directory.claims("", "ClusterRole", namespace, "r");
        let json = claims
            .iter()
            .map(|claim| claim.declared().unwrap().json.to_string());
        json.collect::<Vec<String>>()
    };
    let first = record(1, RevisionStatus::Deployed, 10);
    f.put(&first, documents([Some("b"), None, Some("a")]));
    assert_eq!(claims(&f, ""), [r#"{"image":"a:2"}"#]);
    assert_eq!(claims(&f, "b"), [r#"{"image":"a:0"}"#]);
    f.put(
        &record(1, RevisionStatus::Deployed, 11),
        documents([None, None, None]),
    );
    assert_eq!(claims(&f, ""), [r#"{"image":"a:2"}"#]);
    assert!(claims(&f, "b").is_empty());
    f.index.delete(&record(1, RevisionStatus::Deployed, 11));
    assert!(claims(&f, "").is_empty());
}

#[test]
fn releases_of_one_chart_share_common_data() {
    let mut f = fixture();
    let text = |release: u32| format!("{release} of {}", noise(4_000));
    let name = |release: u32| format!("web-{release}");
    let mut before = 0;
    for release in 0..40 {
        let name = name(release);
        let object = object("ConfigMap", None, &name, &text(release));
        let body = f.body_of("shop", &name, vec![object]);
        f.put_body(
            &at(&storage_in("shop", &name), 1, RevisionStatus::Deployed, 10),
            body,
        );
        if release == 19 {
            before = f.store.bytes();
        }
    }
    let grown = f.store.bytes() - before;
    assert!(before > 15_000 && grown < 20 * 100, "{before} + {grown}");
    for release in 0..40 {
        let claims = f.directory.claims("", "ConfigMap", "shop", &name(release));
        let json = claims[0].declared().map(|object| &*object.json);
        assert_eq!(json, Some(&*format!(r#"{{"image":"{}"}}"#, text(release))));
    }
    for release in 0..40 {
        let storage = storage_in("shop", &name(release));
        f.index
            .delete(&at(&storage, 1, RevisionStatus::Deployed, 10));
    }
    assert_eq!(f.store.bodies(), 0);
}

/// Incompressible text of this many bytes.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut letters = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + u8::try_from(state >> 33 & 0xf).unwrap())
    });
    letters.by_ref().take(bytes).collect()
}

#[test]
fn a_thousand_upgrades_leave_one_body() {
    let mut f = fixture();
    for revision in 1..=1000 {
        let (pending, old, new) = (3 * revision, 3 * revision + 1, 3 * revision + 2);
        let objects = || vec![deployment("web", &format!("a:{revision}"))];
        f.put(
            &record(revision, RevisionStatus::PendingUpgrade, pending),
            objects(),
        );
        f.index
            .apply(record(revision - 1, RevisionStatus::Superseded, old));
        f.put(&record(revision, RevisionStatus::Deployed, new), objects());
        if revision >= 10 {
            f.index
                .delete(&record(revision - 10, RevisionStatus::Superseded, new));
        }
    }
    assert_eq!(f.store.bodies(), 1);
    assert_eq!(f.images("web"), expected_images(&[(1000, "a:1000")]));
    assert_eq!(f.directory.releases()[0].records, 10);
}

fn learned(
    list_version: u32,
    records: Vec<Stored>,
    bodies: Vec<(u32, u32, RevisionContent)>,
) -> Learned {
    Learned {
        storage: storage(),
        list_version: list_version.to_string().into(),
        relists: 0,
        records,
        bodies: bodies
            .into_iter()
            .map(|(revision, version, content)| RevisionView {
                revision,
                version: version_of(revision, version),
                content,
            })
            .collect(),
    }
}

#[test]
fn the_result_of_a_read_through_is_applied_before_the_watch_reports_it() {
    let mut f = fixture();
    f.put(
        &record(3, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    let body = f.body(vec![deployment("web", "a:2")]);
    f.index.learn(learned(
        12,
        vec![
            record(3, RevisionStatus::Deployed, 10),
            record(4, RevisionStatus::PendingUpgrade, 11),
        ],
        vec![(4, 11, body)],
    ));
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2"), (3, "a:1")]));
    assert_eq!(f.index.take_demands(), []);
    f.index.apply(record(4, RevisionStatus::PendingUpgrade, 11));
    assert_eq!(f.index.take_demands(), [], "the watch's own event, late");
}

#[test]
fn a_read_through_older_than_a_deletion_does_not_restore_the_record() {
    let mut f = fixture();
    f.put(
        &record(3, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    f.index.delete(&record(3, RevisionStatus::Deployed, 13));
    let body = f.body(vec![deployment("web", "a:1")]);
    f.index.learn(learned(
        12,
        vec![record(3, RevisionStatus::Deployed, 10)],
        vec![(3, 10, body)],
    ));
    assert!(f.claims("web").is_empty());
}

#[test]
fn a_read_through_older_than_a_relist_does_not_restore_a_record() {
    let mut f = fixture();
    let stale = learned(12, vec![record(3, RevisionStatus::Deployed, 10)], vec![]);
    f.index.relist_started(ALL);
    f.index.relist_done(&ALL);
    f.index.learn(stale.clone());
    assert!(f.directory.releases().is_empty());
    f.index.learn(Learned {
        relists: f.directory.relists(),
        ..stale
    });
    assert_eq!(f.directory.releases().len(), 1);
}

#[test]
fn a_read_through_also_reads_the_releases_that_the_object_names() {
    let mut f = fixture();
    f.put(
        &record(3, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    let elsewhere = f.body_of("shop", "flux", vec![deployment("api", "b:1")]);
    f.put_body(
        &at(
            &storage_in("flux-system", "flux"),
            1,
            RevisionStatus::Deployed,
            11,
        ),
        elsewhere,
    );
    let object = ObjectRef {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        name: "web".into(),
    };
    let read = |names: &[&str]| -> Vec<String> {
        let named: Vec<_> = names
            .iter()
            .map(|name| ReleaseName {
                namespace: "shop".into(),
                name: (*name).to_owned(),
            })
            .collect();
        let claims = f.claims(&object.name);
        let storages = f.directory.to_read(&claims, &named);
        let all = storages.claimants.iter().chain(&storages.named);
        all.map(|storage| format!("{} {storage}", storage.driver))
            .collect()
    };
    let own = format!("Secret {}", storage());
    let in_config_maps = format!("ConfigMap {}", storage());
    assert_eq!(read(&[]), vec![own.clone()]);
    assert_eq!(read(&[&storage().name]), [own.clone(), in_config_maps]);
    assert_eq!(
        read(&["flux"]),
        [
            &*own,
            "Secret flux-system/flux",
            "Secret shop/flux",
            "ConfigMap shop/flux"
        ],
        "the namespace of its records, and the usual one"
    );
    let unheard_of = [
        "Secret shop/new".to_owned(),
        "ConfigMap shop/new".to_owned(),
    ];
    assert_eq!(
        read(&["new", "new"]),
        [vec![own], unheard_of.to_vec()].concat()
    );
}

#[test]
fn a_read_through_removes_unlisted_records_but_not_newer_ones() {
    let mut f = fixture();
    f.put(&record(3, RevisionStatus::Superseded, 9), vec![]);
    f.put(
        &record(4, RevisionStatus::Deployed, 10),
        vec![deployment("web", "a:1")],
    );
    f.index.apply(record(5, RevisionStatus::PendingUpgrade, 20));
    f.index.learn(learned(
        15,
        vec![record(4, RevisionStatus::Deployed, 10)],
        vec![],
    ));
    let view = f.directory.releases().remove(0);
    assert_eq!((view.newest, view.records), (5, 2));
}

/// The unreadable document may declare it.
#[test]
fn an_object_missing_in_a_partly_unreadable_manifest_is_not_absent() {
    let mut fixture = fixture();
    fixture.put(
        &record(1, RevisionStatus::Deployed, 10),
        vec![deployment("front", "a:1"), deployment("back", "a:1")],
    );
    assert!(!fixture.directory.any_unreadable());
    let newer = record(2, RevisionStatus::PendingUpgrade, 11);
    let body = fixture.body_with_problems(vec![deployment("front", "a:2")], 1);
    fixture.put_body(&newer, body);

    let held = |name: &str| {
        let revisions = fixture.claim(name).revisions;
        let helds = revisions.into_iter().map(|revision| revision.held);
        helds
            .map(|held| match held {
                RevisionObject::Declared(_) => "declared",
                RevisionObject::Absent => "absent",
                RevisionObject::Unreadable => "unreadable",
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(held("front"), ["declared", "declared"]);
    assert_eq!(held("back"), ["unreadable", "declared"]);
    assert!(fixture.claims("other").is_empty());
    assert!(fixture.directory.is_unreadable("shop", "web"));
    assert!(!fixture.directory.is_unreadable("shop", "other"));

    let newest = record(3, RevisionStatus::PendingUpgrade, 12);
    fixture.put(&newest, vec![deployment("front", "a:3")]);
    assert!(!fixture.directory.any_unreadable());
    fixture.index.delete(&newest);
    assert!(!fixture.directory.is_unreadable("shop", "web"));
}

#[test]
fn changes_of_a_batch_are_published_at_its_end() {
    let mut fixture = fixture();
    let first = record(1, RevisionStatus::Deployed, 10);
    fixture.put(&first, vec![deployment("front", "a:1")]);

    fixture.index.begin_batch();
    fixture.put(
        &record(2, RevisionStatus::PendingUpgrade, 11),
        vec![deployment("front", "a:2")],
    );
    fixture.index.delete(&first);
    assert_eq!(fixture.claim("front").revisions.len(), 1, "as before");
    fixture.index.end_batch();
    let revisions: Vec<u32> = fixture
        .claim("front")
        .revisions
        .iter()
        .map(|revision| revision.revision)
        .collect();
    assert_eq!(revisions, [2]);
}

/// Computing it again for each of them would take minutes.
#[test]
fn a_release_with_very_many_records_is_indexed() {
    const RECORDS: u32 = 100_000;
    let mut fixture = fixture();
    fixture.index.relist_started(ALL);
    fixture.index.begin_batch();
    for revision in 1..=RECORDS {
        let stored = record(revision, RevisionStatus::Superseded, 10 + revision);
        fixture.index.listed(&ALL, stored);
    }
    fixture.index.end_batch();
    fixture.index.relist_done(&ALL);
    let view = fixture.directory.release(&storage()).unwrap();
    assert_eq!((view.records, view.newest), (100_000, RECORDS));
    // Only the newest body is requested.
    assert_eq!(fixture.index.take_demands().len(), 1);
}
