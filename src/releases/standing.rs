//! What a release says of one object now, for what happened to the object before.

use std::sync::Arc;

use helm_guard_core::{
    guard::ObjectRef,
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, Status},
    },
};

use super::{
    directory::Directory,
    directory::scope,
    handle::Releases,
    view::{Content, ReleaseView},
};

/// What a release says of an object.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Helm is at work on it, its newest revision failed, its record cannot be read, whole or in part, or
    /// there are records of it in several namespaces and none in its own.
    Unsaid,
    /// It has no record, or was uninstalled.
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
    /// What a release says of an object. Only means something once the index is complete.
    pub fn standing(&self, release: &ReleaseName, object: &ObjectRef<'_>) -> Standing {
        self.shared.directory.standing(release, object)
    }
}

impl Directory {
    /// By the records of its own namespace, where there are any; else by those of another one.
    pub(super) fn standing(&self, release: &ReleaseName, object: &ObjectRef<'_>) -> Standing {
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
        // A record whose body is not known may well be this release's.
        let is_dark = |view: &ReleaseView| view.phase.is_some() && view.bodies().next().is_none();
        let are_dark = views.iter().any(|view| is_dark(view));
        views.retain(|view| view.is_of(release));
        let view = match views.as_slice() {
            [view] => view,
            // Kept by two drivers.
            [view, ..] if has_own => view,
            [] if are_dark => return Standing::Unsaid,
            [] => return Standing::Gone,
            // Records in several namespaces: nobody can say which are the release's.
            _ => return Standing::Unsaid,
        };
        let newest = view.revisions.first();
        match (view.phase, newest.map(|newest| &newest.content)) {
            (None, _) => Standing::Gone,
            (Some(Phase::Settled), Some(Content::Body(body)))
                if view.status == Status::Deployed =>
            {
                let namespace = scope(object.group, object.kind, object.namespace);
                match body.find(object.group, object.kind, namespace, &object.name) {
                    Ok(None) if body.problems() > 0 => Standing::Unsaid,
                    Ok(object) => Standing::Deployed {
                        revision: view.newest,
                        object,
                    },
                    Err(_logged) => Standing::Unsaid,
                }
            }
            _ => Standing::Unsaid,
        }
    }
}
