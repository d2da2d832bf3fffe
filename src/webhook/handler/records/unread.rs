//! Requests whose objects were not read: what they change is not known, so they violate what may be
//! violated, whatever it is.

use helm_guard_core::{
    guard::{Operation, Reason, Unread, Verdict},
    helm::{
        ReleaseName,
        storage::{Driver, RecordMeta},
    },
    policy::records::Guarded,
};

use super::{About, Call};

/// The verdict by the name of the object alone.
pub(super) fn verdict(call: &Call<'_>, unread: Unread) -> Result<Verdict, Reason> {
    let reason = unread.reason();
    let guarded = match (call.object.kind, call.request.operation) {
        ("Secret" | "ConfigMap", Operation::Create) => Guarded::Deployers,
        ("Secret" | "ConfigMap", _) => Guarded::Records,
        ("Namespace", _) => Guarded::Namespaces,
        _ => Guarded::Definitions,
    };
    if call.is_off(guarded) {
        return Err(Reason::NotJudged);
    }
    if unread == Unread::Late || !matches!(guarded, Guarded::Deployers | Guarded::Records) {
        return Err(reason);
    }
    let driver = match call.object.kind {
        "Secret" => Driver::Secret,
        _ => Driver::ConfigMap,
    };
    // What is not called like a record is none.
    let Ok(Some(stored)) = RecordMeta::from_metadata(driver, "", &call.object.name, []) else {
        return Err(Reason::NotJudged);
    };
    let about = About {
        release: ReleaseName {
            namespace: call.object.namespace.to_owned(),
            name: stored.release_name,
        },
        chart: "unknown".to_owned(),
        revision: stored.revision,
        is_readable: false,
        involved: Vec::new(),
        declares: Vec::new(),
    };
    Ok(about.violates(call, (guarded, reason), Vec::new()))
}
