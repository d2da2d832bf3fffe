//! Which object a request is about, and the exits that need no look-up.

use std::borrow::Cow;

use super::{
    request::{Operation, Request},
    verdict::Reason,
};
use crate::compare::Fields;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject<'r> {
    /// The object in the request.
    Object(ObjectRef<'r>),
    /// The parent of a Scale object: its resource is known, its kind must be looked up.
    ScaleOf {
        /// The parent's group.
        group: &'r str,
        /// The parent's resource: `deployments`.
        resource: &'r str,
        /// Its namespace.
        namespace: &'r str,
        /// Its name.
        name: Cow<'r, str>,
    },
}

/// The name of an object, borrowed from a request. Namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectRef<'r> {
    /// API group, empty for core.
    pub group: &'r str,
    /// Kind.
    pub kind: &'r str,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: &'r str,
    /// Name.
    pub name: Cow<'r, str>,
}

/// The reason to answer at once, before anything is looked up or parsed.
pub fn screen(request: &Request<'_>) -> Option<Reason> {
    match request.operation {
        Operation::Create | Operation::Connect | Operation::Unknown => {
            return Some(Reason::NotJudged);
        }
        Operation::Update | Operation::Delete => {}
    }
    match (&*request.sub_resource, request.operation) {
        ("", _) | ("scale", Operation::Update) => {}
        _ => return Some(Reason::NotJudged),
    }
    match (request.operation, request.old_object, request.object) {
        (Operation::Update, Some(old), Some(new)) if old.get() == new.get() => {
            Some(Reason::Unchanged)
        }
        (Operation::Update, Some(_), Some(_)) | (Operation::Delete, Some(_), _) => None,
        // A DELETE that names its object can be judged without it; an old API server sends none.
        (Operation::Delete, None, _) if !request.name.is_empty() => None,
        _ => Some(Reason::ObjectUnreadable),
    }
}

/// What the request is about.
///
/// # Errors
/// [`Reason::ObjectUnreadable`] when the request names no object and carries none that does.
pub fn subject<'r>(request: &'r Request<'_>) -> Result<Subject<'r>, Reason> {
    let name = name(request).ok_or(Reason::ObjectUnreadable)?;
    // The API server puts the name of a Namespace into `namespace` too, though it is
    // cluster-scoped (apiserver's RequestInfo).
    let is_namespace = request.kind.group.is_empty() && request.kind.kind == "Namespace";
    let namespace = if is_namespace {
        ""
    } else {
        &*request.namespace
    };
    if request.sub_resource == "scale" {
        return Ok(Subject::ScaleOf {
            group: &request.resource.group,
            resource: &request.resource.resource,
            namespace,
            name,
        });
    }
    let (group, kind) = (&*request.kind.group, &*request.kind.kind);
    Ok(Subject::Object(ObjectRef {
        group,
        kind,
        namespace,
        name,
    }))
}

/// `request.name` is empty for each object of a collection that is deleted, and then only the old
/// object has it.
fn name<'r>(request: &'r Request<'_>) -> Option<Cow<'r, str>> {
    if !request.name.is_empty() {
        return Some(Cow::Borrowed(&*request.name));
    }
    let object = request.old_object.or(request.object)?;
    let metadata = Fields::of(object)?.get("metadata")?;
    let name: String = serde_json::from_str(Fields::of(metadata)?.get("name")?.get()).ok()?;
    (!name.is_empty()).then_some(Cow::Owned(name))
}
