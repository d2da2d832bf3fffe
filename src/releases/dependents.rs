//! Dependents: which releases would lose something with a namespace or a CRD, and which records a
//! release has.
//!
//! A release protects what *each* of its active revisions declares, as with the deletion of an object: during
//! an operation, Helm may remove what only the old manifest declares, and after a failed upgrade what only the
//! new one declares. Records count in their own namespace: claims on another one, or on cluster-scoped
//! instances, need a witness ([`helm_guard_core::guard::claimant`]), which the caller reads.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use futures_util::future::join;
use helm_guard_core::{
    compare::schema::{ResourceScope, builtin::builtin},
    guard::{
        Claimant, Reach, Trusts, Witness,
        claimant::WITNESSES,
        records::{AffectedRelease, DeletionTarget, NAMED},
    },
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, RevisionStatus},
    },
};
use tokio::time::timeout_at;

use super::{
    body::Body,
    candidates::{ELSEWHERE_AT_A_TIME, ELSEWHERE_PATIENCE},
    directory::Directory,
    handle::Releases,
    health::count,
    key::StorageKey,
    read_through::{ReadThrough, ReadThroughError},
    view::{ReleaseView, RevisionContent},
};

/// Concurrent reads, so that one deletion does not flood the API server.
const AT_A_TIME: usize = 8;

/// The affected releases.
#[derive(Debug, Default)]
pub struct Dependents {
    /// The releases; some count only with a witness.
    pub holders: Vec<AffectedRelease>,
    /// Why there may be more of them.
    pub failure: Option<ReadThroughError>,
}

impl Releases {
    /// The releases with records in this namespace that are not uninstalled.
    pub(crate) fn recorded_in(&self, namespace: &str) -> Vec<Arc<ReleaseName>> {
        let views = self.shared.directory.releases();
        let here = views
            .iter()
            .filter(|view| *view.storage.namespace == *namespace && view.phase.is_some());
        here.map(|view| view.release()).collect()
    }
}

impl ReadThrough {
    /// The releases that would lose something, by their current records. Reads those that would
    /// according to the index; a release that no watch has reported yet is not found.
    pub async fn holders(
        &self,
        deletion: DeletionTarget<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> Dependents {
        let releases = self.releases();
        let candidates = releases.directory.whose_records_speak(trusts, |view| {
            view.holds(deletion)
                .then(|| view.may_hold_its_own(deletion))
        });
        let soon = deadline.min(Instant::now() + ELSEWHERE_PATIENCE);
        let (mut found, elsewhere) = join(
            self.holding(deletion, trusts, candidates.counting, (AT_A_TIME, deadline)),
            self.holding(
                deletion,
                trusts,
                candidates.elsewhere,
                (ELSEWHERE_AT_A_TIME, soon),
            ),
        )
        .await;
        found.holders.extend(elsewhere.holders);
        let is_cut = candidates.is_cut.then_some(ReadThroughError::TooManyClaims);
        found.failure = found.failure.or(elsewhere.failure).or(is_cut);
        found.holders.sort_by(|a, b| by_name(a).cmp(&by_name(b)));
        match &found.failure {
            Some(_) if found.holders.is_empty() => count(&releases.counters.read_through_errors),
            _ => count(&releases.counters.read_throughs),
        }
        found
    }

    async fn holding(
        &self,
        deletion: DeletionTarget<'_>,
        trusts: Trusts<'_>,
        storages: Vec<Arc<StorageKey>>,
        (at_a_time, until): (usize, Instant),
    ) -> Dependents {
        let directory = &self.releases().directory;
        let mut found = Dependents::default();
        let reading = self.read_each(storages, at_a_time, until, |answer| {
            match answer {
                Ok(view) => found
                    .holders
                    .extend(directory.holder(&view, deletion, trusts)),
                // This is permanent: size is not a reason to allow a deletion.
                Err(ReadThroughError::TooManyRecords { release }) => {
                    let known = directory.release(&release);
                    let holder = known.and_then(|view| directory.holder(&view, deletion, trusts));
                    found.holders.extend(holder);
                }
                Err(error) => found.failure = Some(error),
            }
            ControlFlow::Continue(())
        });
        if let Err(late) = reading.await {
            found.failure = Some(late);
        }
        found
    }

    /// The revisions with records, with the status of their labels.
    pub async fn history(
        &self,
        storage: &Arc<StorageKey>,
        deadline: Instant,
    ) -> Result<Vec<(u32, RevisionStatus)>, ReadThroughError> {
        let releases = self.releases();
        count(&releases.counters.read_through_lists);
        let attempts = releases.reader.attempts();
        let listing = releases.reader.list(storage, &attempts);
        let listing = timeout_at(deadline.into(), listing).await;
        match listing {
            Ok(Ok(listing)) if listing.is_cut => {
                count(&releases.counters.read_through_errors);
                Err(ReadThroughError::TooManyRecords {
                    release: Arc::clone(storage),
                })
            }
            Ok(Ok(listing)) => {
                count(&releases.counters.read_throughs);
                Ok(listing
                    .records
                    .iter()
                    .map(|stored| (stored.key.revision, stored.status))
                    .collect())
            }
            Ok(Err(failure)) => {
                count(&releases.counters.read_through_errors);
                Err(ReadThroughError::List {
                    release: Arc::clone(storage),
                    failure,
                })
            }
            Err(_) => {
                count(&releases.counters.read_through_errors);
                Err(ReadThroughError::Deadline)
            }
        }
    }
}

fn by_name(holder: &AffectedRelease) -> (&str, &str) {
    let release = &holder.claimant.release;
    (&release.namespace, &release.name)
}

impl Directory {
    /// The release, by its current records, if it would lose something. Copies lose nothing.
    pub(super) fn holder(
        &self,
        view: &ReleaseView,
        deletion: DeletionTarget<'_>,
        trusts: Trusts<'_>,
    ) -> Option<AffectedRelease> {
        if !view.holds(deletion) {
            return None;
        }
        let newest = view.bodies().next();
        let held = || newest.map_or_else(Vec::new, |body| body.held(deletion));
        let home = &*view.storage.namespace;
        let (reach, held) = match deletion {
            DeletionTarget::Namespace(namespace) => {
                let reach = self.reach(view, home == namespace, trusts);
                // Only read where it matters.
                let needed = reach == Reach::Elsewhere;
                (reach, if needed { held() } else { Vec::new() })
            }
            DeletionTarget::Crd(of) => {
                let held = held();
                let mut namespaces = held.iter().map(|(namespace, _)| namespace);
                let is_own = !of.is_cluster_scoped && namespaces.any(|known| known == home);
                (self.reach(view, is_own, trusts), held)
            }
        };
        let named = match deletion {
            DeletionTarget::Namespace(_) => 0,
            DeletionTarget::Crd(_) => NAMED,
        };
        let called = newest.map(|body| {
            let named = held.iter().take(named);
            named.map(|(_, object)| body.called(object)).collect()
        });
        let witnesses = match reach {
            Reach::Copy => return None,
            Reach::Elsewhere => witnesses(deletion, &held),
            _ => Vec::new(),
        };
        let revisions = if view.revisions.is_empty() {
            vec![view.newest]
        } else {
            view.revisions.iter().map(|known| known.revision).collect()
        };
        Some(AffectedRelease {
            claimant: Claimant {
                release: view.release(),
                reach,
                witnesses,
            },
            chart: newest.map_or_else(|| Arc::from("unknown"), |body| Arc::clone(body.chart())),
            revisions,
            objects: called.unwrap_or_default(),
        })
    }
}

/// The ones that the guard can most likely read come first.
fn witnesses(deletion: DeletionTarget<'_>, held: &[(String, DeclaredObject)]) -> Vec<Witness> {
    let is_builtin = |object: &DeclaredObject| {
        let (group, version, kind) = (&object.group, &object.version, &object.kind);
        builtin().lookup(group, version, kind).is_some()
    };
    let (builtins, others): (Vec<_>, Vec<_>) =
        held.iter().partition(|(_, object)| is_builtin(object));
    let chosen = builtins.into_iter().chain(others).take(WITNESSES);
    chosen
        .map(|(namespace, object)| {
            let mut witness = Witness::of(object, namespace);
            if let DeletionTarget::Crd(of) = deletion {
                if let Some(version) = &of.version {
                    witness.api_version = format!("{}/{version}", of.group);
                }
                if of.is_cluster_scoped {
                    witness.namespace.clear();
                }
            }
            witness
        })
        .collect()
}

impl ReleaseView {
    /// The release, by its records; by their storage, if none can be read.
    fn release(&self) -> Arc<ReleaseName> {
        match self.bodies().next() {
            Some(body) => Arc::clone(body.release()),
            None => Arc::new(ReleaseName {
                namespace: self.storage.namespace.to_string(),
                name: self.storage.name.to_string(),
            }),
        }
    }

    /// Whether the release would lose something. A release that is being uninstalled protects nothing.
    fn holds(&self, deletion: DeletionTarget<'_>) -> bool {
        let is_active = self.phase.is_some_and(|phase| phase != Phase::Uninstalling);
        is_active
            && match deletion {
                DeletionTarget::Namespace(namespace) => {
                    *self.storage.namespace == *namespace || self.each(|body| body.is_in(namespace))
                }
                DeletionTarget::Crd(of) => {
                    self.each(|body| body.has_instances(&of.group, &of.kind))
                }
            }
    }

    /// Whether that may be something in the namespace of its records, without unpacking each object.
    fn may_hold_its_own(&self, deletion: DeletionTarget<'_>) -> bool {
        let home = &*self.storage.namespace;
        match deletion {
            DeletionTarget::Namespace(namespace) => home == namespace,
            DeletionTarget::Crd(of) => {
                !of.is_cluster_scoped && self.bodies().any(|body| body.is_in(home))
            }
        }
    }

    /// Whether this holds for every active revision, of which there must be at least one.
    fn each(&self, holds: impl Fn(&Body) -> bool) -> bool {
        !self.revisions.is_empty()
            && self.revisions.iter().all(|known| match &known.content {
                RevisionContent::Body(body) => holds(body),
                RevisionContent::Unreadable | RevisionContent::OverBudget { .. } => false,
            })
    }
}

impl Body {
    /// Whether it declares objects of this kind.
    fn has_instances(&self, group: &str, kind: &str) -> bool {
        let mut kinds = self.kinds().iter();
        kinds.any(|known| (&*known.group, &*known.kind) == (group, kind))
    }

    /// The objects that would be lost, each with its namespace, if its kind is namespaced. `None` if
    /// the objects cannot be read.
    fn held(&self, deletion: DeletionTarget<'_>) -> Vec<(String, DeclaredObject)> {
        let objects = self.objects().inspect_err(|error| self.log(*error));
        let objects = objects.unwrap_or_default().into_iter().map(|object| {
            let namespace = match object.namespace.as_deref() {
                None | Some("") => &*self.release().namespace,
                Some(namespace) => namespace,
            };
            (namespace.to_owned(), object)
        });
        let is_held = |(namespace, object): &(String, DeclaredObject)| match deletion {
            DeletionTarget::Namespace(deletion) => {
                let scope = builtin().scope(&object.group, &object.kind);
                namespace == deletion && scope != Some(ResourceScope::Cluster)
            }
            DeletionTarget::Crd(of) => (&object.group, &object.kind) == (&of.group, &of.kind),
        };
        objects.filter(is_held).collect()
    }

    /// The name in messages. Whether the kind is namespaced is unknown, so the namespace is
    /// included if the document contains one.
    fn called(&self, object: &DeclaredObject) -> String {
        let (kind, name) = (&object.kind, &object.name);
        match object.namespace.as_deref() {
            Some(namespace) if namespace != self.release().namespace && !namespace.is_empty() => {
                format!("{kind} {name:?} in namespace {namespace:?}")
            }
            _ => format!("{kind} {name:?}"),
        }
    }
}
