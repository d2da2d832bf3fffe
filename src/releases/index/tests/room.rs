//! What the index does when it has no room for all that releases declare.

use std::fmt::Write as _;

use super::*;

/// Text that does not compress.
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

struct Room {
    fixture: Fixture,
    seed: u64,
}

/// What is known of a release's Deployment.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Whole,
    /// That it is declared.
    Outline,
    Nothing,
}

impl Room {
    fn of(bytes: usize) -> Self {
        let mut fixture = fixture();
        fixture.index = Index::within(bytes, Arc::clone(&fixture.directory));
        Self { fixture, seed: 0 }
    }

    fn content(&mut self, namespace: &str, name: &str, bytes: usize) -> Content {
        self.seed += 1;
        let image = noise(self.seed, 2 * bytes);
        let objects = vec![object("Deployment", None, name, &image)];
        self.fixture.body_of(namespace, name, objects)
    }

    /// A release of its own, whose one Deployment takes so many bytes.
    fn put(&mut self, namespace: &str, name: &str, bytes: usize) -> Stored {
        let stored = at(&storage_in(namespace, name), 1, Status::Deployed, 10);
        let content = self.content(namespace, name, bytes);
        self.fixture.put_body(&stored, content);
        stored
    }

    fn known(&self, namespace: &str, name: &str) -> Known {
        let directory = &self.fixture.directory;
        let claims = directory.claims("apps", "Deployment", namespace, name);
        match claims.first().map(|claim| &claim.revisions[0].held) {
            Some(Held::Declared(_)) => Known::Whole,
            Some(Held::Unreadable) => Known::Outline,
            Some(Held::Absent) => panic!("it is declared"),
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
fn who_fills_the_index_from_one_namespace_pushes_out_none_of_another() {
    let mut room = Room::of(1000 * KIB);
    for number in 0..4 {
        room.put("shop", &format!("web-{number}"), 50 * KIB);
    }
    for number in 0..50 {
        room.put("evil", &format!("junk-{number}"), 60 * KIB);
    }
    for number in 4..8 {
        room.put("shop", &format!("web-{number}"), 50 * KIB);
    }
    for number in 0..8 {
        assert_eq!(room.known("shop", &format!("web-{number}")), Known::Whole);
    }
    let whole = (0..50)
        .filter(|number| room.known("evil", &format!("junk-{number}")) == Known::Whole)
        .count();
    assert!((5..=10).contains(&whole), "{whole} of 50");
    // The others still claim what they declare, so that their records are read for each request.
    for number in 0..50 {
        assert!(room.known("evil", &format!("junk-{number}")) != Known::Nothing);
    }
    // All of it but the model of their chart.
    assert!(room.fixture.store.bytes() <= 1200 * KIB);
}

#[test]
fn the_largest_record_of_the_heaviest_namespace_makes_room_whatever_came_first() {
    let sizes = [("a", 300), ("b", 100), ("c", 250), ("d", 120)];
    for turn in 0..sizes.len() {
        let mut room = Room::of(550 * KIB);
        room.put("other", "web", 150 * KIB);
        for (name, kib) in sizes.iter().cycle().skip(turn).take(sizes.len()) {
            room.put("shop", name, kib * KIB);
        }
        let known = |name| room.known("shop", name);
        assert_eq!(
            [known("a"), known("b"), known("c"), known("d")],
            [Known::Outline, Known::Whole, Known::Outline, Known::Whole],
            "from {turn} on"
        );
        assert_eq!(room.known("other", "web"), Known::Whole);
    }
}

#[test]
fn a_record_for_which_not_even_names_have_room_is_a_problem_of_its_release() {
    let mut room = Room::of(20 * KIB);
    for number in 0..100 {
        room.put("evil", &format!("junk-{number}"), KIB);
    }
    let directory = &room.fixture.directory;
    let unknown: Vec<String> = (0..100)
        .map(|number| format!("junk-{number}"))
        .filter(|name| room.known("evil", name) == Known::Nothing)
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
fn a_record_that_made_room_is_asked_for_again_when_there_is_some() {
    let mut room = Room::of(500 * KIB);
    room.put("shop", "web", 300 * KIB);
    let junk = room.put("shop", "junk", 400 * KIB);
    assert_eq!(room.known("shop", "junk"), Known::Outline);
    assert_eq!(room.known("shop", "web"), Known::Whole);
    let large = room.put("shop", "large", 460 * KIB);
    assert_eq!(room.fetches(), []);

    room.fixture.index.delete(&large);
    assert_eq!(room.fetches(), [], "still no room");
    room.fixture
        .index
        .delete(&at(&storage_in("shop", "web"), 1, Status::Deployed, 10));
    assert_eq!(room.fetches(), std::slice::from_ref(&junk.key));
    assert_eq!(room.fetches(), [], "asked for once");
    let content = room.content("shop", "junk", 400 * KIB);
    room.fixture
        .index
        .insert_body(&junk.key, &junk.version, content);
    assert_eq!(room.known("shop", "junk"), Known::Whole);
}

#[test]
fn what_a_request_reads_of_a_release_without_room_pushes_out_no_other() {
    let mut room = Room::of(500 * KIB);
    room.put("shop", "web", 400 * KIB);
    let junk = room.put("shop", "junk", 450 * KIB);
    let content = room.content("shop", "junk", 300 * KIB);
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
    room.fixture.index.learn(learned);
    assert_eq!(room.known("shop", "junk"), Known::Outline);
    assert_eq!(room.known("shop", "web"), Known::Whole);
}

#[test]
fn of_two_active_revisions_neither_is_believed_while_one_is_an_outline() {
    let mut room = Room::of(500 * KIB);
    let web = storage_in("shop", "web");
    for (revision, status, bytes) in [(1, Status::Deployed, 100), (2, Status::Failed, 450)] {
        let content = room.content("shop", "web", bytes * KIB);
        room.fixture
            .put_body(&at(&web, revision, status, 10 + revision), content);
    }
    let claims = room
        .fixture
        .directory
        .claims("apps", "Deployment", "shop", "web");
    let helds = &claims[0].revisions;
    assert_eq!(helds.len(), 2);
    assert!(helds.iter().all(|of| matches!(of.held, Held::Unreadable)));
}

#[test]
fn a_release_that_goes_gives_its_room_back() {
    let mut room = Room::of(500 * KIB);
    for number in 0..100 {
        let name = format!("web-{number}");
        let stored = room.put("shop", &name, 200 * KIB);
        assert_eq!(room.known("shop", &name), Known::Whole, "{number}");
        room.fixture.index.delete(&stored);
    }
    for revision in 1..100 {
        let stored = at(&storage(), revision, Status::Deployed, 100 + revision);
        let content = room.content("shop", "web", 200 * KIB);
        room.fixture.put_body(&stored, content);
        assert_eq!(room.known("shop", "web"), Known::Whole, "{revision}");
    }
}

/// Names of kinds compress well, and are kept as they are.
#[test]
fn names_without_end_count() {
    let mut room = Room::of(200 * KIB);
    let objects = (0..1000)
        .map(|number| object(&format!("{}{number}", "K".repeat(1000)), None, "a", "b"))
        .collect();
    let content = room.fixture.body_of("evil", "names", objects);
    assert!(content.cost() > 1000 * KIB, "{}", content.cost());
    let stored = at(&storage_in("evil", "names"), 1, Status::Deployed, 10);
    room.fixture.put_body(&stored, content);
    assert!(room.fixture.directory.is_unreadable("evil", "names"));
}
