//! The versions in which the API server makes a call of its own about a request, so that each manifest is
//! compared in its own version.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

/// What is in place now; [`crate::webhook::versions`] keeps it up to date.
pub type ActiveConversions = Arc<ArcSwap<ConvertedVersions>>;

/// The versions of each kind that objects are converted to.
#[derive(Debug, Default)]
pub struct ConvertedVersions {
    groups: HashMap<Box<str>, KindVersions>,
}

/// The versions of each kind of a group.
type KindVersions = HashMap<Box<str>, Vec<Box<str>>>;

impl ConvertedVersions {
    /// Of groups, kinds and versions.
    pub fn of<'v>(converted: impl IntoIterator<Item = (&'v str, &'v str, &'v str)>) -> Self {
        let mut groups: HashMap<Box<str>, KindVersions> = HashMap::new();
        for (group, kind, version) in converted {
            let kinds = groups.entry(group.into()).or_default();
            kinds.entry(kind.into()).or_default().push(version.into());
        }
        Self { groups }
    }

    /// Those of a kind.
    pub fn versions(&self, group: &str, kind: &str) -> &[Box<str>] {
        let kinds = self.groups.get(group);
        kinds
            .and_then(|kinds| kinds.get(kind))
            .map_or(&[], Vec::as_slice)
    }
}
