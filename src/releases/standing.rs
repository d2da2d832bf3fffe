//! What a release says of one object now, for what happened to the object before.

use std::sync::Arc;

use super::{Releases, directory::scope, view::Content};
use crate::{
    guard::ObjectRef,
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, Status},
    },
};

/// What a release says of an object.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Helm is at work on it, its newest revision failed, or its record cannot be read, whole or in part.
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
        let mut views = self.shared.directory.releases();
        views.retain(|view| *view.storage.name == *release.name);
        let Some(view) = views.iter().find(|view| view.is_of(release)) else {
            // A record whose body is not known may well be this release's.
            let is_dark = views
                .iter()
                .any(|view| view.phase.is_some() && view.bodies().next().is_none());
            return if is_dark {
                Standing::Unsaid
            } else {
                Standing::Gone
            };
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
