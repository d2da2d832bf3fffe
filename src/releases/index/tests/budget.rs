//! What the index does when declared objects exceed its budget.

use std::fmt::Write as _;

use super::*;

/// Incompressible text.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    text
}

const KIB: usize = 1024;

struct BudgetFixture {
    fixture: Fixture,
    seed: u64,
}

/// What the index knows about a release's Deployment.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Whole,
    /// Only that it is declared.
    Outline,
    Nothing,
}

impl BudgetFixture {
    fn of(bytes: usize) -> Self {
        let mut fixture = fixture();
        fixture.index = Index::within(bytes, Arc::clone(&fixture.directory));
        Self { fixture, seed: 0 }
    }

    fn content(&mut self, namespace: &str, name: &str, bytes: usize) -> RevisionContent {
        self.seed += 1;
        let image = noise(self.seed, 2 * bytes);
        let objects = vec![object("Deployment", None, name, &image)];
        self.fixture.body_of(namespace, name, objects)
    }

    /// A separate release with one Deployment of this many bytes.
    fn put(&mut self, namespace: &str, name: &str, bytes: usize) -> Stored {
        let stored = at(
            &storage_in(namespace, name),
            1,
            RevisionStatus::Deployed,
            10,
        );
        let content = self.content(namespace, name, bytes);
        self.fixture.put_body(&stored, content);
        stored
    }

    fn known(&self, namespace: &str, name: &str) -> Known {
        let directory = &self.fixture.directory;
        let claims = directory.claims("apps", "Deployment", namespace, name);
        match claims.first().map(|claim| &claim.revisions[0].held) {
            Some(RevisionObject::Declared(_)) => Known::Whole,
            Some(RevisionObject::Unreadable) => Known::Outline,
            Some(RevisionObject::Absent) => panic!("it is declared"),
            None => Known::Nothing,
        }
    }

    fn fetches(&mut self) -> Vec<RecordKey> {
        let demands = self.fixture.index.take_demands().into_iter();
        let fetches = demands.filter_map(|demand| match demand {
            Demand::Fetch(key, _) => Some(key),
            Demand::Forget(_) => None,
        });
        fetches.collect()
    }
}

#[test]
fn filling_the_index_from_one_namespace_evicts_nothing_of_another() {
    let mut budget = BudgetFixture::of(1000 * KIB);
    for number in 0..4 {
        budget.put("shop", &format!("web-{number}"), 50 * KIB);
    }
    for number in 0..50 {
        budget.put("evil", &format!("junk-{number}"), 60 * KIB);
    }
    for number in 4..8 {
        budget.put("shop", &format!("web-{number}"), 50 * KIB);
    }
    for number in 0..8 {
        assert_eq!(budget.known("shop", &format!("web-{number}")), Known::Whole);
    }
    let whole = (0..50)
        .filter(|number| budget.known("evil", &format!("junk-{number}")) == Known::Whole)
        .count();
    assert!((5..=10).contains(&whole), "{whole} of 50");
    // The others still claim their objects, so that their records are read for each request.
    for number in 0..50 {
        assert!(budget.known("evil", &format!("junk-{number}")) != Known::Nothing);
    }
    // All of it except the model of their chart.
    assert!(budget.fixture.store.bytes() <= 1200 * KIB);
}

#[test]
fn the_largest_record_of_the_largest_namespace_is_evicted_in_any_order() {
    let sizes = [("a", 300), ("b", 100), ("c", 250), ("d", 120)];
    for turn in 0..sizes.len() {
        let mut budget = BudgetFixture::of(550 * KIB);
        budget.put("other", "web", 150 * KIB);
        for (name, kib) in sizes.iter().cycle().skip(turn).take(sizes.len()) {
            budget.put("shop", name, kib * KIB);
        }
        let known = |name| budget.known("shop", name);
        assert_eq!(
            [known("a"), known("b"), known("c"), known("d")],
            [Known::Outline, Known::Whole, Known::Outline, Known::Whole],
            "from {turn} on"
        );
        assert_eq!(budget.known("other", "web"), Known::Whole);
    }
}

#[test]
fn a_record_whose_names_exceed_the_budget_makes_its_release_unreadable() {
    let mut budget = BudgetFixture::of(20 * KIB);
    for number in 0..100 {
        budget.put("evil", &format!("junk-{number}"), KIB);
    }
    let directory = &budget.fixture.directory;
    let unknown: Vec<String> = (0..100)
        .map(|number| format!("junk-{number}"))
        .filter(|name| budget.known("evil", name) == Known::Nothing)
        .collect();
    assert!(unknown.len() > 50, "{}", unknown.len());
    // Requests about their objects are indeterminate, and not "not declared".
    for name in &unknown {
        assert!(directory.is_unreadable("evil", name), "{name}");
    }
    assert!(directory.any_unreadable());
    assert!(!directory.is_unreadable("shop", "web"));
}

#[test]
fn an_evicted_record_is_fetched_again_when_memory_is_free() {
    let mut budget = BudgetFixture::of(500 * KIB);
    budget.put("shop", "web", 300 * KIB);
    let junk = budget.put("shop", "junk", 400 * KIB);
    assert_eq!(budget.known("shop", "junk"), Known::Outline);
    assert_eq!(budget.known("shop", "web"), Known::Whole);
    let large = budget.put("shop", "large", 460 * KIB);
    assert_eq!(budget.fetches(), []);

    budget.fixture.index.delete(&large);
    assert_eq!(budget.fetches(), [], "still no room");
    budget.fixture.index.delete(&at(
        &storage_in("shop", "web"),
        1,
        RevisionStatus::Deployed,
        10,
    ));
    assert_eq!(budget.fetches(), std::slice::from_ref(&junk.key));
    assert_eq!(budget.fetches(), [], "asked for once");
    let content = budget.content("shop", "junk", 400 * KIB);
    budget
        .fixture
        .index
        .insert_body(&junk.key, &junk.version, content);
    assert_eq!(budget.known("shop", "junk"), Known::Whole);
}

#[test]
fn a_read_through_of_an_evicted_release_evicts_no_other() {
    let mut budget = BudgetFixture::of(500 * KIB);
    budget.put("shop", "web", 400 * KIB);
    let junk = budget.put("shop", "junk", 450 * KIB);
    let content = budget.content("shop", "junk", 300 * KIB);
    let learned = Learned {
        storage: Arc::clone(&junk.key.storage),
        list_version: "50".into(),
        relists: 0,
        records: vec![junk.clone()],
        bodies: vec![RevisionView {
            revision: 1,
            version: junk.version.clone(),
            content,
        }],
    };
    budget.fixture.index.learn(learned);
    assert_eq!(budget.known("shop", "junk"), Known::Outline);
    assert_eq!(budget.known("shop", "web"), Known::Whole);
}

#[test]
fn neither_active_revision_counts_while_one_is_an_outline() {
    let mut budget = BudgetFixture::of(500 * KIB);
    let web = storage_in("shop", "web");
    for (revision, status, bytes) in [
        (1, RevisionStatus::Deployed, 100),
        (2, RevisionStatus::Failed, 450),
    ] {
        let content = budget.content("shop", "web", bytes * KIB);
        budget
            .fixture
            .put_body(&at(&web, revision, status, 10 + revision), content);
    }
    let claims = budget
        .fixture
        .directory
        .claims("apps", "Deployment", "shop", "web");
    let helds = &claims[0].revisions;
    assert_eq!(helds.len(), 2);
    assert!(
        helds
            .iter()
            .all(|of| matches!(of.held, RevisionObject::Unreadable))
    );
}

#[test]
fn a_removed_release_releases_its_memory() {
    let mut budget = BudgetFixture::of(500 * KIB);
    for number in 0..100 {
        let name = format!("web-{number}");
        let stored = budget.put("shop", &name, 200 * KIB);
        assert_eq!(budget.known("shop", &name), Known::Whole, "{number}");
        budget.fixture.index.delete(&stored);
    }
    for revision in 1..100 {
        let stored = at(
            &storage(),
            revision,
            RevisionStatus::Deployed,
            100 + revision,
        );
        let content = budget.content("shop", "web", 200 * KIB);
        budget.fixture.put_body(&stored, content);
        assert_eq!(budget.known("shop", "web"), Known::Whole, "{revision}");
    }
}

/// Names of kinds compress well, but are stored uncompressed.
#[test]
fn very_long_names_count_in_the_budget() {
    let mut budget = BudgetFixture::of(200 * KIB);
    let objects = (0..1000)
        .map(|number| object(&format!("{}{number}", "K".repeat(1000)), None, "a", "b"))
        .collect();
    let content = budget.fixture.body_of("evil", "names", objects);
    assert!(content.cost() > 1000 * KIB, "{}", content.cost());
    let stored = at(
        &storage_in("evil", "names"),
        1,
        RevisionStatus::Deployed,
        10,
    );
    budget.fixture.put_body(&stored, content);
    assert!(budget.fixture.directory.is_unreadable("evil", "names"));
}
