//! The event on the object of a request.

use helm_guard_core::{guard::Decided, helm::ObjectId};

use crate::record::events::Note;

/// The event on the object of a request.
pub(super) fn note(
    decided: &Decided<'_>,
    (reason, action): (&'static str, &'static str),
    text: String,
) -> Option<Note> {
    let (request, object) = (decided.request, decided.object?);
    Some(Note {
        object: ObjectId {
            group: object.group.to_owned(),
            kind: object.kind.to_owned(),
            namespace: object.namespace.to_owned(),
            name: object.name.clone().into_owned(),
        },
        api_version: api_version(object.group, &request.resource.version),
        uid: request.metadata_text("uid"),
        reason,
        action,
        text,
    })
}

/// As in a manifest.
pub(super) fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}
