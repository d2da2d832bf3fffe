//! The current state of a release for one object, to resolve earlier emergency changes.

use std::sync::Arc;

use helm_guard_core::{
    guard::ObjectRef,
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, RevisionStatus},
    },
};

use super::{
    directory::Directory,
    directory::scope,
    handle::Releases,
    view::{ReleaseView, RevisionContent},
};

/// The state of a release for an object.
#[derive(Clone, Debug)]
pub(crate) enum ReleaseState {
    /// A Helm operation runs, the newest revision failed, a record cannot be read entirely or in part, or
    /// there are records in several namespaces and none in its own.
    Unknown,
    /// The release has no record, or was uninstalled.
    Gone,
    /// This revision is deployed.
    Deployed {
        /// Its number.
        revision: u32,
        /// The object in its manifest.
        object: Option<Arc<DeclaredObject>>,
    },
}

impl Releases {
    /// The state of a release for an object. Only meaningful once the index is complete.
    pub(crate) fn release_state(
        &self,
        release: &ReleaseName,
        object: &ObjectRef<'_>,
    ) -> ReleaseState {
        self.shared.directory.release_state(release, object)
    }
}

impl Directory {
    /// By the records in its own namespace, if any; else by those in another one.
    pub(super) fn release_state(
        &self,
        release: &ReleaseName,
        object: &ObjectRef<'_>,
    ) -> ReleaseState {
        let mut views = self.releases();
        views.retain(|view| *view.storage.name == *release.name);
        let is_own = |view: &Arc<ReleaseView>| {
            *view.storage.namespace == *release.namespace && view.may_be_of(release)
        };
        let has_own = views.iter().any(is_own);
        if has_own {
            // The others are copies.
            views.retain(is_own);
        }
        // A record with an unknown body may belong to this release.
        let is_dark = |view: &ReleaseView| view.phase.is_some() && view.bodies().next().is_none();
        let are_dark = views.iter().any(|view| is_dark(view));
        views.retain(|view| view.is_of(release));
        let view = match views.as_slice() {
            [view] => view,
            // Stored by two drivers.
            [view, ..] if has_own => view,
            [] if are_dark => return ReleaseState::Unknown,
            [] => return ReleaseState::Gone,
            // Records in several namespaces: it is unknown which are the release's.
            _ => return ReleaseState::Unknown,
        };
        let newest = view.revisions.first();
        match (view.phase, newest.map(|newest| &newest.content)) {
            (None, _) => ReleaseState::Gone,
            (Some(Phase::Settled), Some(RevisionContent::Body(body)))
                if view.status == RevisionStatus::Deployed =>
            {
                let namespace = scope(object.group, object.kind, object.namespace);
                match body.find(object.group, object.kind, namespace, &object.name) {
                    Ok(None) if body.problems() > 0 => ReleaseState::Unknown,
                    Ok(object) => ReleaseState::Deployed {
                        revision: view.newest,
                        object,
                    },
                    Err(_logged) => ReleaseState::Unknown,
                }
            }
            _ => ReleaseState::Unknown,
        }
    }
}
