//! Labels of the objects that the guard itself writes: its registration and its certificate.

use std::collections::BTreeMap;

/// The label with the tool that manages an object.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The guard's field manager, and the value of [`MANAGED_BY`] on its objects.
pub(crate) const FIELD_MANAGER: &str = "helm-guard";

/// The labels of an object that the guard writes.
pub(crate) fn own_labels() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "helm-guard".to_owned()),
        (MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned()),
    ])
}
