//! One replica of the guard: the product's index, evaluation and order of reads, on the model's
//! events and records.

use std::{borrow::Cow, sync::Arc};

use helm_guard::releases::{
    Directory,
    index::{Demand, Index, Learned, WatchScope},
    key::{RecordKey, RecordVersion, StorageKey},
    view::{ReleaseView, RevisionContent, RevisionView},
};
use helm_guard_core::{
    compare::{
        redact::Redactor,
        schema::{Shape, builtin::builtin},
    },
    guard::{
        Claim, ConversionTargets, Knowledge, ObjectRef, Operation, Parts, Question, Raw, Request,
        VerdictOutcome, judge, owners,
        request::{Kind, Resource, UserInfo},
        screen,
    },
    helm::{
        lifecycle::{self, Phase},
        storage::Driver,
    },
    policy::{Labels, Policy, license::Facts},
};

use super::{
    cluster::{Cluster, Event, NAMESPACE, Object, RELEASES, is_custom, json, name},
    dice::Dice,
};

/// A request to the guard.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    Update {
        object: usize,
        old: Object,
        new: Object,
    },
    Delete {
        object: usize,
        old: Object,
    },
}

/// The basis of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The index: none of its releases claims the object.
    Unclaimed,
    /// The index: it contains no violation.
    Index,
    /// The records, read after the request came.
    Records,
    /// Neither: the index finds a violation, and the records could not be read.
    Unread,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub allowed: bool,
    pub basis: Basis,
    /// The releases whose records were read.
    pub read: Vec<usize>,
}

impl Answer {
    fn allows(basis: Basis) -> Self {
        Self {
            allowed: true,
            basis,
            read: Vec::new(),
        }
    }
}

/// The shared inputs of all evaluations.
pub struct Rules {
    policy: Policy,
    redactor: Redactor,
}

impl Rules {
    pub fn new() -> Self {
        Self {
            policy: Policy::default(),
            redactor: Redactor::new(b"key"),
        }
    }
}

pub struct Replica {
    index: Index,
    directory: Arc<Directory>,
    /// The number of received events.
    seen: usize,
    fetches: Vec<(RecordKey, RecordVersion)>,
    /// Results of read-throughs, on their way to the writer.
    learned: Vec<Learned>,
}

impl Replica {
    /// A replica that has listed the records, and read none of them.
    pub fn started(cluster: &Cluster) -> Self {
        let directory = Arc::<Directory>::default();
        let mut replica = Self {
            index: Index::new(Arc::clone(&directory)),
            directory,
            seen: 0,
            fetches: Vec::new(),
            learned: Vec::new(),
        };
        replica.relist(cluster);
        replica
    }

    pub fn relist(&mut self, cluster: &Cluster) {
        let scope = WatchScope {
            driver: Driver::Secret,
            namespace: None,
        };
        self.index.relist_started(scope.clone());
        for stored in cluster.list() {
            self.index.listed(&scope, stored);
        }
        self.index.relist_done(&scope);
        self.seen = cluster.events.len();
        self.demands();
    }

    /// Receives the next event of the watch; false if there is none.
    pub fn hear(&mut self, cluster: &Cluster) -> bool {
        let Some(event) = cluster.events.get(self.seen) else {
            return false;
        };
        self.seen += 1;
        self.take(event);
        true
    }

    /// Loses an event.
    pub fn miss(&mut self, cluster: &Cluster) {
        self.seen = (self.seen + 1).min(cluster.events.len());
    }

    /// Repeats events.
    pub fn hear_again(&mut self, cluster: &Cluster, dice: &mut Dice) {
        let from = self.seen.saturating_sub(1 + dice.below(6));
        for event in &cluster.events[from..self.seen] {
            self.take(event);
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Written(stored) => self.index.apply(stored.clone()),
            Event::Deleted(stored) => self.index.delete(stored),
        }
        self.demands();
    }

    fn demands(&mut self) {
        for demand in self.index.take_demands() {
            match demand {
                Demand::Fetch(key, version) => self.fetches.push((key, version)),
                Demand::Forget(key) => self.fetches.retain(|(wanted, _)| *wanted != key),
            }
        }
    }

    /// Delivers a requested body, or fails to read it.
    pub fn fetch(&mut self, cluster: &mut Cluster, dice: &mut Dice) {
        if self.fetches.is_empty() {
            return;
        }
        let (key, version) = self.fetches.swap_remove(dice.below(self.fetches.len()));
        if dice.once_in(40) {
            self.index
                .insert_body(&key, &version, RevisionContent::Unreadable);
            self.fetches.push((key, version));
        } else if let Some(read) = read(cluster, &key) {
            self.index.insert_body(&key, &read.version, read.content);
        }
        self.demands();
    }

    /// The writer applies the result of a read-through.
    pub fn learn(&mut self) {
        if !self.learned.is_empty() {
            let learned = self.learned.remove(0);
            self.index.learn(learned);
            self.demands();
        }
    }

    /// Delivers everything in flight.
    pub fn catch_up(&mut self, cluster: &mut Cluster) {
        while self.hear(cluster) {}
        while !self.learned.is_empty() {
            self.learn();
        }
        while let Some((key, _)) = self.fetches.pop() {
            if let Some(read) = read(cluster, &key) {
                self.index.insert_body(&key, &read.version, read.content);
            }
            self.demands();
        }
    }

    /// Whether the index matches the records.
    pub fn is_current(&self, cluster: &Cluster) -> bool {
        (0..RELEASES.len()).all(|release| {
            let records = &cluster.records[release];
            let known = self.directory.release(&cluster.storages[release]);
            let active = active(cluster, release);
            let Some(active) = active else {
                return known.is_none_or(|view| view.phase.is_none());
            };
            known.is_some_and(|view| {
                let revisions = view.revisions.iter().map(|known| {
                    let is_body = matches!(known.content, RevisionContent::Body(_));
                    is_body.then(|| (known.revision, known.version.clone()))
                });
                let truth = active
                    .revisions()
                    .map(|revision| Some((revision, records.get(&revision)?.state())));
                view.phase == Some(active.phase) && revisions.eq(truth)
            })
        })
    }

    /// Answers as the webhook does: allows from the index, denies from the records.
    pub fn answer(
        &mut self,
        cluster: &mut Cluster,
        rules: &Rules,
        dice: &mut Dice,
        ask: &Ask,
    ) -> Answer {
        let (operation, object, old, new) = match ask {
            Ask::Update { object, old, new } => (Operation::Update, *object, old, Some(new)),
            Ask::Delete { object, old } => (Operation::Delete, *object, old, None),
        };
        let old = json(object, old);
        let new = new.map(|new| json(object, new));
        let (group, version, kind) = kind(object);
        let request = Request {
            uid: Cow::Borrowed("1"),
            kind: Kind {
                group: group.into(),
                version: version.into(),
                kind: kind.into(),
            },
            resource: Resource::default(),
            request_kind: None,
            sub_resource: Cow::Borrowed(""),
            name: name(object).into(),
            namespace: NAMESPACE.into(),
            operation,
            user_info: UserInfo::default(),
            object: new.as_deref().map(raw),
            old_object: Some(raw(&old)),
            dry_run: false,
            options: None,
            unread: None,
            parts: Parts::default(),
        };
        if let Some(reason) = screen(&request) {
            assert_eq!(reason.outcome(), VerdictOutcome::Pass, "{reason}");
            return Answer::allows(Basis::Records);
        }
        let object_ref = ObjectRef {
            group,
            kind,
            namespace: NAMESPACE,
            name: request.name.clone(),
        };
        let shape = builtin().lookup(group, version, kind);
        let outcome = |claims: &[Claim]| {
            let question = Question {
                request: &request,
                object: &object_ref,
                claims,
                knowledge: shape.map_or(Knowledge::Custom(Shape::plain()), Knowledge::Builtin),
                conversions: ConversionTargets::Versions(&[]),
                replicas_path: &[],
                policy: &rules.policy,
                labels: Labels::Unknown,
                facts: Facts::default(),
                redactor: &rules.redactor,
            };
            judge(&question).reason.outcome()
        };
        let claims = self.directory.claims(group, kind, NAMESPACE, &request.name);
        if claims.is_empty() {
            return Answer::allows(Basis::Unclaimed);
        }
        if outcome(&claims) == VerdictOutcome::Pass {
            return Answer::allows(Basis::Index);
        }
        if dice.once_in(500) {
            return Answer::allows(Basis::Unread);
        }
        let (read, claims) = self.read_through(cluster, &request, &object_ref);
        let allowed = outcome(&claims) == VerdictOutcome::Pass;
        Answer {
            allowed,
            basis: Basis::Records,
            read,
        }
    }

    fn read_through(
        &mut self,
        cluster: &mut Cluster,
        request: &Request<'_>,
        object: &ObjectRef<'_>,
    ) -> (Vec<usize>, Vec<Claim>) {
        let ObjectRef {
            group,
            kind,
            namespace,
            name,
        } = object;
        let claims = self.directory.claims(group, kind, namespace, name);
        let to_read = self.directory.to_read(&claims, &owners(request));
        let storages = to_read.claimants.into_iter().chain(to_read.named);
        let (mut read, mut claims) = (Vec::new(), Vec::new());
        for storage in storages {
            if storage.driver != Driver::Secret {
                continue;
            }
            let view = view(cluster, &storage);
            claims.extend(view.claim(group, kind, namespace, name));
            let release = release_of(&storage);
            read.push(release);
            self.learned.push(Learned {
                storage,
                list_version: cluster.version().to_string().into(),
                relists: self.directory.relists(),
                records: cluster.list_of(release),
                bodies: view.revisions,
            });
        }
        (read, claims)
    }
}

fn raw(json: &str) -> Raw<'_> {
    Raw::of(json)
}

fn kind(object: usize) -> (&'static str, &'static str, &'static str) {
    if is_custom(object) {
        ("edge.test", "v1", "Gadget")
    } else {
        ("", "v1", "ConfigMap")
    }
}

fn release_of(storage: &StorageKey) -> usize {
    RELEASES
        .iter()
        .position(|name| **name == *storage.name)
        .unwrap()
}

fn read(cluster: &mut Cluster, key: &RecordKey) -> Option<RevisionView> {
    let release = release_of(&key.storage);
    let record = cluster.records[release].get(&key.revision)?;
    let (version, manifest) = (record.state(), record.manifest);
    Some(RevisionView {
        revision: key.revision,
        version,
        content: RevisionContent::Body(cluster.body(release, &manifest)),
    })
}

fn active(cluster: &Cluster, release: usize) -> Option<lifecycle::ActiveSet> {
    let statuses: Vec<_> = cluster.records[release]
        .iter()
        .map(|(revision, record)| (*revision, record.status))
        .collect();
    lifecycle::active_set(&statuses)
}

/// A release from its current records, as a read-through finds it.
fn view(cluster: &mut Cluster, storage: &Arc<StorageKey>) -> ReleaseView {
    let release = release_of(storage);
    let active = active(cluster, release);
    let revisions = active
        .iter()
        .flat_map(lifecycle::ActiveSet::revisions)
        .filter_map(|revision| {
            let storage = Arc::clone(storage);
            read(cluster, &RecordKey { storage, revision })
        })
        .collect();
    let newest = cluster
        .newest(release)
        .map(|(revision, record)| (revision, record.status));
    ReleaseView {
        storage: Arc::clone(storage),
        newest: newest.map_or(0, |(revision, _)| revision),
        status: newest.map_or(lifecycle::RevisionStatus::Unknown, |(_, status)| status),
        phase: active.map(|active| -> Phase { active.phase }),
        revisions,
        records: cluster.records[release].len(),
        latest: None,
    }
}
