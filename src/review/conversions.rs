//! The versions in which the API server makes a separate call about a request, so that each manifest is
//! compared in its own version.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

/// The current state; [`crate::webhook::versions`] updates it.
pub type ActiveConversions = Arc<ArcSwap<ConvertedVersions>>;

/// The versions of each kind to which objects are converted.
#[derive(Debug, Default)]
pub struct ConvertedVersions {
    groups: HashMap<Box<str>, KindVersions>,
}

/// The versions of each kind of a group.
type KindVersions = HashMap<Box<str>, Vec<Box<str>>>;

impl ConvertedVersions {
    /// From groups, kinds and versions.
    pub fn of<'v>(converted: impl IntoIterator<Item = (&'v str, &'v str, &'v str)>) -> Self {
        let mut groups: HashMap<Box<str>, KindVersions> = HashMap::new();
        for (group, kind, version) in converted {
            let kinds = groups.entry(group.into()).or_default();
            kinds.entry(kind.into()).or_default().push(version.into());
        }
        Self { groups }
    }

    /// The served versions of a kind; empty if the kind is unknown.
    pub fn versions(&self, group: &str, kind: &str) -> &[Box<str>] {
        let kinds = self.groups.get(group);
        kinds
            .and_then(|kinds| kinds.get(kind))
            .map_or(&[], Vec::as_slice)
    }
}
