//! Helm's operations, as the sequence of their writes to records and objects (`pkg/action` of Helm
//! 3 and 4): install, upgrade, rollback, uninstall, and what each of them does when it fails.

use std::collections::VecDeque;

use helm_guard_core::helm::lifecycle::RevisionStatus;

use super::{
    cluster::{Cluster, FIELDS, Manifest, OBJECTS, Object, Said},
    dice::Dice,
};

/// How objects are updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A patch from old manifest, new manifest and live object; of the two manifests alone for
    /// custom resources.
    ClientSide,
    /// Every object is sent, and fields of the old manifest are removed.
    ServerSide,
    /// `--force`: the object is replaced by the manifest.
    Replace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Install,
    Upgrade,
    Rollback,
    Uninstall,
}

/// The flags of one call.
#[allow(clippy::struct_excessive_bools, reason = "so are Helm's")]
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    pub method: Method,
    pub take_ownership: bool,
    pub atomic: bool,
    pub cleanup_on_fail: bool,
    pub keep_history: bool,
    /// Helm 4: uninstall keeps objects with another release's annotations.
    pub checks_owner: bool,
    pub history_max: usize,
}

impl Flags {
    pub fn roll(dice: &mut Dice) -> Self {
        let methods = [
            Method::ClientSide,
            Method::ClientSide,
            Method::ServerSide,
            Method::Replace,
        ];
        Self {
            method: methods[dice.below(4)],
            take_ownership: dice.once_in(3),
            atomic: dice.once_in(3),
            cleanup_on_fail: dice.once_in(3),
            keep_history: dice.once_in(3),
            checks_owner: dice.once_in(2),
            history_max: [1, 2, 10][dice.below(3)],
        }
    }
}

/// One write, or something that may fail between writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Prune,
    Create(RevisionStatus),
    Hook,
    Apply(usize),
    Remove(usize),
    Wait,
    Set(u32, RevisionStatus),
    SupersedeDeployed,
    Purge,
    /// `--cleanup-on-fail`: an object that this call created.
    CleanUp(usize),
    /// `--atomic`: roll back to this revision.
    RollBack(u32),
    /// `--atomic` at the first installation.
    Uninstall,
}

/// A request for an object.
#[derive(Clone, Copy, Debug)]
pub enum Write {
    Create(usize, Object),
    Update(usize, Object),
    Delete(usize),
}

/// The result of a step.
#[derive(Debug)]
pub enum Step {
    /// Only records were written.
    Done,
    /// This request must be sent to the API server; then [`Process::wrote`].
    Request(Write),
    /// The process has ended.
    Over,
}

/// One running call of Helm.
#[derive(Clone, Debug)]
pub struct Process {
    pub release: usize,
    pub operation: Operation,
    pub flags: Flags,
    /// The manifest that Helm assumes to be in the cluster, and its revision.
    current: Option<(u32, Manifest)>,
    /// The revision that it writes, and the manifest of it.
    pub revision: u32,
    pub manifest: Manifest,
    /// Objects that existed before and are adopted by the release.
    adopted: [bool; OBJECTS],
    created: [bool; OBJECTS],
    plan: VecDeque<Act>,
    pub act: Option<Act>,
    /// The record that it wrote last, by its uid, and the status that it gave it.
    written: Option<(u64, RevisionStatus)>,
    /// It got SIGTERM, has recorded the failure, and still has requests in flight.
    pub is_late: bool,
    /// The number of acts until something fails for another reason than the guard.
    fails_in: Option<usize>,
}

impl Process {
    fn new(
        release: usize,
        operation: Operation,
        flags: Flags,
        (revision, manifest): (u32, Manifest),
    ) -> Self {
        Self {
            release,
            operation,
            flags,
            current: None,
            revision,
            manifest,
            adopted: [false; OBJECTS],
            created: [false; OBJECTS],
            plan: VecDeque::new(),
            act: None,
            written: None,
            is_late: false,
            fails_in: None,
        }
    }

    /// `helm install`: rejected if the release exists, unless it replaces an uninstalled one.
    pub fn install(cluster: &Cluster, release: usize, dice: &mut Dice) -> Option<Self> {
        let last = cluster
            .newest(release)
            .map(|(revision, record)| (revision, record.status));
        let replaces = match last {
            None => None,
            Some((revision, RevisionStatus::Uninstalled | RevisionStatus::Failed))
                if dice.once_in(2) =>
            {
                Some(revision)
            }
            Some(_) => return None,
        };
        let revision = last.map_or(1, |(revision, _)| revision + 1);
        let manifest = random_manifest(release, dice);
        let mut process = Self::new(
            release,
            Operation::Install,
            Flags::roll(dice),
            (revision, manifest),
        );
        process.adopt(cluster)?;
        process
            .plan
            .extend(replaces.map(|revision| Act::Set(revision, RevisionStatus::Superseded)));
        process.begin(RevisionStatus::PendingInstall);
        process.plan.extend([
            Act::Wait,
            Act::Hook,
            Act::Set(revision, RevisionStatus::Deployed),
        ]);
        process.may_fail(dice);
        Some(process)
    }

    /// `helm upgrade`: rejected while the last revision is pending.
    pub fn upgrade(cluster: &Cluster, release: usize, dice: &mut Dice) -> Option<Self> {
        let (last, record) = cluster.newest(release)?;
        if record.status.is_pending() {
            return None;
        }
        let (current, base) = match (record.status, newest_deployed(cluster, release)) {
            (_, Some(revision)) => (revision, cluster.records[release].get(&revision)?.manifest),
            (RevisionStatus::Failed | RevisionStatus::Superseded, None) => (last, record.manifest),
            _ => return None,
        };
        let manifest = changed_manifest(&base, release, dice);
        let mut process = Self::new(
            release,
            Operation::Upgrade,
            Flags::roll(dice),
            (last + 1, manifest),
        );
        process.current = Some((current, base));
        process.adopt(cluster)?;
        process.begin(RevisionStatus::PendingUpgrade);
        process.plan.extend([
            Act::Wait,
            Act::Hook,
            Act::Set(current, RevisionStatus::Superseded),
            Act::Set(last + 1, RevisionStatus::Deployed),
        ]);
        process.may_fail(dice);
        Some(process)
    }

    /// `helm rollback`: only requires that there is a last revision.
    pub fn rollback(
        cluster: &Cluster,
        release: usize,
        to: Option<u32>,
        dice: &mut Dice,
    ) -> Option<Self> {
        let (last, record) = cluster.newest(release)?;
        let to = to.or_else(|| last.checked_sub(1))?;
        let manifest = cluster.records[release].get(&to)?.manifest;
        let flags = Flags::roll(dice);
        let mut process = Self::new(release, Operation::Rollback, flags, (last + 1, manifest));
        process.current = Some((last, record.manifest));
        process.begin(RevisionStatus::PendingRollback);
        process.plan.extend([
            Act::Wait,
            Act::Hook,
            Act::SupersedeDeployed,
            Act::Set(last + 1, RevisionStatus::Deployed),
        ]);
        process.may_fail(dice);
        Some(process)
    }

    /// `helm uninstall`.
    pub fn uninstall(cluster: &Cluster, release: usize, dice: &mut Dice) -> Option<Self> {
        let (last, record) = cluster.newest(release)?;
        let flags = Flags::roll(dice);
        let mut process = Self::new(
            release,
            Operation::Uninstall,
            flags,
            (last, record.manifest),
        );
        if record.status == RevisionStatus::Uninstalled {
            process.plan.push_back(Act::Purge);
            return Some(process);
        }
        process
            .plan
            .extend([Act::Hook, Act::Set(last, RevisionStatus::Uninstalling)]);
        let kept = |object: &usize| record.manifest[*object].is_some_and(|said| !said.keep);
        process
            .plan
            .extend((0..OBJECTS).rev().filter(kept).map(Act::Remove));
        process.plan.extend([Act::Wait, Act::Hook]);
        process.plan.push_back(if flags.keep_history {
            Act::Set(last, RevisionStatus::Uninstalled)
        } else {
            Act::Purge
        });
        process.may_fail(dice);
        Some(process)
    }

    /// Checks existing objects: those of others are an error, unless Helm may take ownership.
    fn adopt(&mut self, cluster: &Cluster) -> Option<()> {
        for object in 0..OBJECTS {
            let is_new = self.manifest[object].is_some() && self.was(object).is_none();
            let Some(live) = cluster.objects[object].filter(|_| is_new) else {
                continue;
            };
            if live.owner != Some(self.release) && !self.flags.take_ownership {
                return None;
            }
            self.adopted[object] = true;
        }
        Some(())
    }

    /// The common part of all operations that apply a manifest.
    fn begin(&mut self, status: RevisionStatus) {
        self.plan
            .extend([Act::Prune, Act::Create(status), Act::Hook]);
        let holds = |manifest: &Manifest, object: usize| manifest[object].is_some();
        let target = (0..OBJECTS).filter(|object| holds(&self.manifest, *object));
        self.plan.extend(target.map(Act::Apply));
        let is_dropped = |object: &usize| {
            !holds(&self.manifest, *object) && self.was(*object).is_some_and(|said| !said.keep)
        };
        let dropped: Vec<usize> = (0..OBJECTS).filter(is_dropped).collect();
        self.plan.extend(dropped.into_iter().map(Act::Remove));
    }

    fn was(&self, object: usize) -> Option<Said> {
        self.current.and_then(|(_, manifest)| manifest[object])
    }

    fn may_fail(&mut self, dice: &mut Dice) {
        if dice.once_in(3) {
            self.fails_in = Some(dice.below(self.plan.len()));
        }
    }

    /// Whether another call has written the release's records since: neither call knows of the
    /// other. The other may have reached the same status with its own manifest.
    pub fn is_overtaken(&self, cluster: &Cluster) -> bool {
        let Some(written) = self.written else {
            return false;
        };
        let newest = cluster.newest(self.release);
        newest.is_none_or(|(_, record)| {
            (record.uid, record.status) != written || record.manifest != self.manifest
        })
    }

    fn note_written(&mut self, cluster: &Cluster, status: RevisionStatus) {
        let record = cluster.records[self.release].get(&self.revision);
        self.written = record.map(|record| (record.uid, status));
    }

    /// The next act.
    pub fn step(&mut self, cluster: &mut Cluster, dice: &mut Dice) -> Step {
        let Some(act) = self.plan.pop_front() else {
            return Step::Over;
        };
        self.act = Some(act);
        if let Some(left) = self.fails_in.as_mut() {
            if *left == 0 {
                self.fails_in = None;
                return self.fail(cluster, act);
            }
            *left -= 1;
        }
        self.perform(cluster, act, dice)
    }

    fn perform(&mut self, cluster: &mut Cluster, act: Act, dice: &mut Dice) -> Step {
        let release = self.release;
        match act {
            Act::Prune => prune(cluster, release, self.flags.history_max),
            Act::Create(status) => {
                if !cluster.create(release, self.revision, status, self.manifest) {
                    return Step::Over;
                }
                self.note_written(cluster, status);
            }
            Act::Hook | Act::Wait => {}
            Act::Apply(object) => return self.apply(cluster, object),
            Act::Remove(object) | Act::CleanUp(object) => {
                let is_owned =
                    cluster.objects[object].is_some_and(|live| live.owner == Some(release));
                let skips = self.operation == Operation::Uninstall && self.flags.checks_owner;
                if cluster.objects[object].is_some() && (is_owned || !skips) {
                    return Step::Request(Write::Delete(object));
                }
            }
            Act::Set(revision, status) => {
                let is_own = revision == self.revision;
                let manifest = is_own.then_some(self.manifest);
                if !cluster.set(release, revision, status, manifest) && is_own {
                    return Step::Over;
                }
                if is_own {
                    self.note_written(cluster, status);
                }
            }
            Act::SupersedeDeployed => {
                let deployed: Vec<u32> =
                    revisions_that_are(cluster, release, RevisionStatus::Deployed);
                for revision in deployed {
                    cluster.set(release, revision, RevisionStatus::Superseded, None);
                }
            }
            Act::Purge => {
                let Some((&revision, _)) = cluster.records[release].first_key_value() else {
                    return Step::Over;
                };
                cluster.delete(release, revision);
                self.plan.push_front(Act::Purge);
            }
            Act::RollBack(to) => match Self::rollback(cluster, release, Some(to), dice) {
                Some(rollback) => *self = rollback,
                None => return Step::Over,
            },
            Act::Uninstall => match Self::uninstall(cluster, release, dice) {
                Some(uninstall) => *self = uninstall,
                None => return Step::Over,
            },
        }
        Step::Done
    }

    fn apply(&mut self, cluster: &mut Cluster, object: usize) -> Step {
        let Some(said) = self.manifest[object] else {
            return Step::Done;
        };
        let Some(live) = cluster.objects[object] else {
            let new = Object {
                fields: said.fields,
                owner: Some(self.release),
                extra: None,
            };
            return Step::Request(Write::Create(object, new));
        };
        let was = self.was(object);
        if was.is_none() && !self.adopted[object] {
            // It was created after Helm had checked.
            return self.fail(cluster, Act::Apply(object));
        }
        let two_way = super::cluster::is_custom(object) && self.flags.method == Method::ClientSide;
        let mut new = live;
        match (self.flags.method, was) {
            (Method::Replace, _) => {
                new.fields = said.fields;
                new.extra = None;
                new.owner = Some(self.release);
            }
            (_, Some(was)) if two_way => {
                for field in 0..FIELDS {
                    if was.fields[field] != said.fields[field] {
                        new.fields[field] = said.fields[field];
                    }
                }
            }
            _ => {
                for field in 0..FIELDS {
                    let is_dropped = was.is_some_and(|was| was.fields[field].is_some());
                    if said.fields[field].is_some() || is_dropped {
                        new.fields[field] = said.fields[field];
                    }
                }
                new.owner = Some(self.release);
            }
        }
        if new == live && self.flags.method != Method::ServerSide {
            return Step::Done;
        }
        Step::Request(Write::Update(object, new))
    }

    /// The API server has executed the request.
    pub fn wrote(&mut self, write: &Write) {
        if let Write::Create(object, _) = write {
            self.created[*object] = true;
        }
    }

    /// The API server has denied the request.
    pub fn refused(&mut self, cluster: &mut Cluster) {
        if let Some(act @ (Act::Apply(_) | Act::Remove(_))) = self.act
            && self.operation != Operation::Uninstall
        {
            self.fail(cluster, act);
        }
    }

    /// Continues after a failed act, as Helm does.
    fn fail(&mut self, cluster: &Cluster, act: Act) -> Step {
        self.plan.clear();
        self.fails_in = None;
        let (release, revision) = (self.release, self.revision);
        if self.written.is_none() {
            return Step::Over;
        }
        let is_update = matches!(act, Act::Apply(_) | Act::Remove(_));
        let status_of = |revision| {
            cluster.records[release]
                .get(&revision)
                .map(|record| record.status)
        };
        match self.operation {
            Operation::Uninstall => {}
            Operation::Rollback if act == Act::Hook => {}
            Operation::Rollback => {
                if let Some((current, _)) = self.current {
                    let status = if is_update {
                        Some(RevisionStatus::Superseded)
                    } else {
                        status_of(current)
                    };
                    self.plan
                        .extend(status.map(|status| Act::Set(current, status)));
                }
                self.plan
                    .push_back(Act::Set(revision, RevisionStatus::Failed));
                if is_update {
                    self.clean_up();
                }
            }
            Operation::Install if self.flags.atomic => self.plan.push_back(Act::Uninstall),
            Operation::Install => self
                .plan
                .push_back(Act::Set(revision, RevisionStatus::Failed)),
            Operation::Upgrade => {
                if let Some((current, _)) = self.current {
                    let status = status_of(current);
                    self.plan
                        .extend(status.map(|status| Act::Set(current, status)));
                }
                self.plan
                    .push_back(Act::Set(revision, RevisionStatus::Failed));
                self.clean_up();
                let good = cluster.records[release]
                    .range(..revision)
                    .rev()
                    .find(|(_, record)| {
                        matches!(
                            record.status,
                            RevisionStatus::Deployed | RevisionStatus::Superseded
                        )
                    });
                if let Some((good, _)) = good.filter(|_| self.flags.atomic) {
                    self.plan.push_back(Act::RollBack(*good));
                }
            }
        }
        Step::Done
    }

    fn clean_up(&mut self) {
        if self.flags.cleanup_on_fail {
            let created = (0..OBJECTS).filter(|object| self.created[*object]);
            self.plan.extend(created.map(Act::CleanUp));
        }
    }

    /// SIGTERM: the release is marked failed while requests are still being sent.
    pub fn interrupt(&mut self, dice: &mut Dice) {
        let is_applying = matches!(self.operation, Operation::Install | Operation::Upgrade);
        if !is_applying || self.written.is_none_or(|(_, status)| !status.is_pending()) {
            return;
        }
        let late = self
            .plan
            .iter()
            .copied()
            .filter(|act| matches!(act, Act::Apply(_) | Act::Remove(_)));
        let late: Vec<Act> = late.take(1 + dice.below(3)).collect();
        self.plan.clear();
        self.is_late = true;
        self.fails_in = None;
        self.plan
            .push_back(Act::Set(self.revision, RevisionStatus::Failed));
        self.plan.extend(late);
    }
}

fn revisions_that_are(cluster: &Cluster, release: usize, status: RevisionStatus) -> Vec<u32> {
    let records = cluster.records[release].iter();
    records
        .filter(|(_, record)| record.status == status)
        .map(|(revision, _)| *revision)
        .collect()
}

fn newest_deployed(cluster: &Cluster, release: usize) -> Option<u32> {
    revisions_that_are(cluster, release, RevisionStatus::Deployed)
        .last()
        .copied()
}

/// Before a record is created, the oldest are pruned, but never the last deployed one.
fn prune(cluster: &mut Cluster, release: usize, history_max: usize) {
    let deployed = newest_deployed(cluster, release);
    let revisions: Vec<u32> = cluster.records[release].keys().copied().collect();
    let mut left = revisions.len();
    for revision in revisions {
        if left < history_max {
            break;
        }
        if Some(revision) != deployed {
            cluster.delete(release, revision);
            left -= 1;
        }
    }
}

/// The objects that a release's chart may contain: one of them may be claimed by both releases.
fn chart(release: usize) -> std::ops::Range<usize> {
    if release == 0 { 0..3 } else { 2..OBJECTS }
}

fn random_said(dice: &mut Dice) -> Said {
    let mut fields = [None; FIELDS];
    for field in &mut fields {
        *field = random_value(dice).filter(|_| !dice.once_in(3));
    }
    Said {
        fields,
        keep: dice.once_in(8),
    }
}

pub fn random_value(dice: &mut Dice) -> Option<u8> {
    u8::try_from(dice.below(5)).ok()
}

fn random_manifest(release: usize, dice: &mut Dice) -> Manifest {
    let mut manifest = [None; OBJECTS];
    for object in chart(release) {
        manifest[object] = (!dice.once_in(3)).then(|| random_said(dice));
    }
    manifest
}

fn changed_manifest(base: &Manifest, release: usize, dice: &mut Dice) -> Manifest {
    let mut manifest = *base;
    for _ in 0..=dice.below(3) {
        let object = chart(release).start + dice.below(chart(release).len());
        let field = dice.below(FIELDS);
        match (&mut manifest[object], dice.below(4)) {
            (slot, 0) => *slot = None,
            (slot @ None, _) => *slot = Some(random_said(dice)),
            (Some(said), 1) => said.fields[field] = None,
            (Some(said), _) => said.fields[field] = random_value(dice),
        }
    }
    manifest
}
