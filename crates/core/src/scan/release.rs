//! The scan of one release.
//!
//! 1. [`ReleaseScan::new`] reads the history and lists the objects whose live state is needed.
//! 2. [`ReleaseScan::assess`] compares one object. Objects may come in any order and at any time, so that a caller
//!    can stream lists of live objects of one kind after the other, and keep only what was found.
//! 3. [`ReleaseScan::conclude`] adds what depends on all of them, and on the records.
//!
//! [`ReleaseScan::run`] does all three where everything can be looked up.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
};

use super::{
    examined::ExaminedObject,
    finding::FindingSeverity,
    history::History,
    key::LiveKey,
    object,
    records::records,
    report::{DriftState, ReleaseReport},
    scanned::{
        LiveObject, Observed, ReadRecord, ScanRules, ScannedHook, ScannedObject, ScannedRelease,
        ScannedRevision,
    },
};
use crate::helm::identity::DeclaredObject;

pub use super::object::ObjectAssessment;

/// The scan of one release.
#[derive(Debug)]
pub struct ReleaseScan<'a> {
    release: &'a ScannedRelease<'a>,
    rules: &'a ScanRules<'a>,
    history: History<'a>,
    chart: String,
    objects: Vec<ScannedObject<'a>>,
}

impl<'a> ReleaseScan<'a> {
    /// Of a release whose needed records were read.
    pub fn new(release: &'a ScannedRelease<'a>, rules: &'a ScanRules<'a>) -> Self {
        let history = History::of(release, rules);
        let newest = history.newest.and_then(ScannedRevision::record);
        Self {
            chart: newest.map_or_else(String::new, |record| record.chart.to_string()),
            objects: objects(release, &history),
            release,
            rules,
            history,
        }
    }

    /// The objects whose live state is needed, each once: those that active and abandoned revisions declare, and
    /// those of hooks. The other objects with marks of the release are orphans ([`super::orphans`]).
    pub fn objects(&self) -> &[ScannedObject<'a>] {
        &self.objects
    }

    /// Compares one of the objects with what is known of it.
    pub fn assess(&self, object: &ScannedObject<'_>, observed: &Observed<'_>) -> ObjectAssessment {
        let json = match observed.live {
            LiveObject::Present { json, .. } => json,
            LiveObject::Absent | LiveObject::Unreadable(_) => "",
        };
        let context = (self.rules, self.release, &self.history);
        object::assess(&ExaminedObject::new(
            context,
            &self.chart,
            object,
            (observed, json),
        ))
    }

    /// The report of the release: what was found of its records and objects. An object that is not among
    /// `assessed` counts as in sync, so a caller has to assess all, if only as unreadable.
    pub fn conclude(&self, assessed: impl IntoIterator<Item = ObjectAssessment>) -> ReleaseReport {
        let mut findings = records(self.release, &self.history, self.rules);
        let (mut objects, mut more_findings, mut is_begun) = (0, 0, false);
        let mut lagging = Vec::new();
        for one in assessed {
            objects += usize::from(one.is_declared);
            more_findings += one.omitted;
            is_begun |= one.follows_newest;
            lagging.extend(one.lagging);
            findings.extend(one.findings);
        }
        if is_begun {
            findings.extend(lagging);
        }
        let state = if findings.iter().any(super::DriftFinding::is_error) {
            DriftState::Error
        } else if self.history.is_working {
            DriftState::Pending
        } else if findings
            .iter()
            .any(|finding| finding.severity > FindingSeverity::Info)
        {
            DriftState::Drifted
        } else {
            DriftState::InSync
        };
        let newest = self.history.newest;
        let chart = newest
            .and_then(ScannedRevision::record)
            .map(|record| record.chart);
        ReleaseReport {
            namespace: self.release.name.namespace.clone(),
            name: self.release.name.name.clone(),
            revision: newest.map_or(0, |newest| newest.revision),
            status: newest
                .map_or("unknown", |newest| newest.status.as_str())
                .to_owned(),
            chart: chart.map_or_else(String::new, |chart| chart.name.clone()),
            chart_version: chart.map_or_else(String::new, |chart| chart.version.clone()),
            state,
            objects,
            findings,
            more_findings,
        }
    }

    /// Assesses every object with what `observe` knows of it.
    pub fn run<'o>(&self, observe: impl Fn(&ScannedObject<'a>) -> Observed<'o>) -> ReleaseReport {
        let assess = |object: &ScannedObject<'a>| self.assess(object, &observe(object));
        self.conclude(self.objects.iter().map(assess))
    }
}

/// The objects of the revisions that count, in the order in which they were declared.
fn objects<'a>(release: &ScannedRelease<'a>, history: &History<'a>) -> Vec<ScannedObject<'a>> {
    let mut objects = ObjectsOfRelease {
        namespace: &release.name.namespace,
        at: HashMap::new(),
    };
    if history.active.is_none() {
        return Vec::new();
    }
    let record = |revision: Option<&'a ScannedRevision<'a>>| revision?.record();
    let (newest, base) = (record(history.newest), record(history.base));
    for object in newest.into_iter().flat_map(|record| record.objects) {
        objects.of(object).newest = Some(object);
    }
    for object in base.into_iter().flat_map(|record| record.objects) {
        objects.of(object).base = Some(object);
    }
    for (revision, record) in &history.abandoned {
        for object in record.objects {
            objects.of(object).abandoned.push((*revision, object));
        }
    }
    let mut revisions: Vec<&ScannedRevision<'a>> = release.revisions.iter().collect();
    revisions.sort_unstable_by_key(|one| Reverse(one.revision));
    let newest = history.newest.map(|newest| newest.revision);
    for one in revisions {
        let hooks = one
            .record()
            .into_iter()
            .flat_map(|record: &ReadRecord<'a>| record.hooks);
        for hook in hooks {
            let object = objects.of(&hook.object);
            if !object.is_declared() && object.abandoned.is_empty() {
                let known = object.hook.get_or_insert(ScannedHook {
                    hook,
                    earlier: (Some(one.revision) != newest).then_some(one.revision),
                    phase: None,
                });
                known.phase = known.phase.or(hook.phase);
            }
        }
    }
    let mut all: Vec<_> = objects.at.into_values().collect();
    all.sort_unstable_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, object)| object).collect()
}

/// Objects of several revisions: without a namespace, and in that of the release, they are the same.
struct ObjectsOfRelease<'a> {
    namespace: &'a str,
    /// With the order in which they came.
    at: HashMap<LiveKey<'a>, (usize, ScannedObject<'a>)>,
}

impl<'a> ObjectsOfRelease<'a> {
    /// The entry of an object.
    fn of(&mut self, object: &'a DeclaredObject) -> &mut ScannedObject<'a> {
        let key = LiveKey {
            group: &object.group,
            kind: &object.kind,
            namespace: object.namespace.as_deref().unwrap_or(self.namespace),
            name: &object.name,
        };
        let next = self.at.len();
        let entry = match self.at.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert((next, ScannedObject::new(key))),
        };
        &mut entry.1
    }
}
