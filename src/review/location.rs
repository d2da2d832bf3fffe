//! Finds the object that a request is about.

use std::{borrow::Cow, time::Instant};

use helm_guard_core::{
    compare::schema::builtin::builtin,
    guard::{ObjectRef, Reason, Request, RequestSubject, subject},
};

use super::{schema::custom_resource, sources::SchemaSource, undecided::Undecided};

/// The evaluated object.
#[derive(Debug)]
pub(super) struct LocatedObject<'r> {
    group: &'r str,
    kind: Cow<'r, str>,
    namespace: &'r str,
    name: Cow<'r, str>,
    /// The path of the replicas in the parent of a Scale.
    pub replicas_path: Vec<String>,
}

impl LocatedObject<'_> {
    pub(super) fn object(&self) -> ObjectRef<'_> {
        ObjectRef {
            group: self.group,
            kind: &self.kind,
            namespace: self.namespace,
            name: Cow::Borrowed(&self.name),
        }
    }
}

/// Finds the object that a request is about. Only a scale of a custom resource needs a lookup,
/// because it names the resource and not the kind.
pub(super) async fn locate<'r, S: SchemaSource>(
    sources: &S,
    request: &'r Request<'_>,
    deadline: Instant,
) -> Result<LocatedObject<'r>, Undecided> {
    match subject(request).map_err(Undecided::because)? {
        RequestSubject::Object(object) => Ok(LocatedObject {
            group: object.group,
            kind: Cow::Borrowed(object.kind),
            namespace: object.namespace,
            name: object.name,
            replicas_path: Vec::new(),
        }),
        RequestSubject::ScaleOf {
            group,
            resource,
            namespace,
            name,
        } => {
            let (kind, path) = match builtin().scalable(resource, group) {
                Some(kind) => (Cow::Borrowed(kind), ".spec.replicas".to_owned()),
                None => scaled_custom_resource(sources, request, deadline).await?,
            };
            Ok(LocatedObject {
                group,
                kind,
                namespace,
                name,
                // The API server only allows field names (`specReplicasPath` of
                // CustomResourceSubresourceScale).
                replicas_path: path.split('.').skip(1).map(str::to_owned).collect(),
            })
        }
    }
}

async fn scaled_custom_resource<S: SchemaSource>(
    sources: &S,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<(Cow<'static, str>, String), Undecided> {
    let unavailable = || Undecided::because(Reason::SchemaUnavailable);
    let found = custom_resource(sources, request, deadline).await?;
    let crd = found.ok_or_else(unavailable)?;
    let mut versions = crd.versions.iter();
    let path = versions
        .find(|version| version.name == request.resource.version)
        .and_then(|version| version.spec_replicas_path.clone())
        .ok_or_else(unavailable)?;
    Ok((Cow::Owned(crd.kind.clone()), path))
}
