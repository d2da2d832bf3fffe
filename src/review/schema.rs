//! The schema of a request's kind.

use std::{sync::Arc, time::Instant};

use helm_guard_core::{
    compare::schema::{Shape, builtin::builtin, crd::CrdShape},
    guard::{Effect, Knowledge, ObjectRef, Reason, Request, effect},
};
use tokio::time::timeout_at;

use super::{sources::SchemaSource, undecided::Undecided};

pub(super) enum KindSchema {
    Builtin(Shape<'static>),
    Custom(Option<Arc<CrdShape>>),
    Unavailable,
}

impl KindSchema {
    pub(super) fn knowledge(&self, request: &Request<'_>) -> Knowledge<'_> {
        match self {
            Self::Builtin(shape) => Knowledge::Builtin(*shape),
            Self::Custom(crd) => {
                let shape = crd
                    .as_ref()
                    .and_then(|crd| crd.shape(&request.kind.version));
                Knowledge::Custom(shape.unwrap_or_else(Shape::plain))
            }
            Self::Unavailable => Knowledge::Unavailable,
        }
    }

    /// Looks it up, if the request needs one. A schema that could not be read is
    /// [`KindSchema::Unavailable`].
    ///
    /// # Errors
    /// When it was not read in time.
    pub(super) async fn of<S: SchemaSource>(
        sources: &S,
        request: &Request<'_>,
        object: &ObjectRef<'_>,
        deadline: Instant,
    ) -> Result<Self, Undecided> {
        let (group, version) = (object.group, &*request.kind.version);
        let is_compared = matches!(
            effect(request),
            Some(Effect::Update | Effect::UpdateMetadata)
        );
        if !is_compared || request.unread.is_some() {
            // Only the existence or a number is compared.
            return Ok(Self::Builtin(Shape::plain()));
        }
        if let Some(shape) = builtin().lookup(group, version, object.kind) {
            return Ok(Self::Builtin(shape));
        }
        if builtin().knows_group(group) {
            return Ok(Self::Builtin(Shape::plain()));
        }
        match custom_resource(sources, request, deadline).await {
            Ok(crd) => Ok(Self::Custom(crd)),
            Err(Undecided(Reason::SchemaUnavailable)) => Ok(Self::Unavailable),
            Err(late) => Err(late),
        }
    }
}

/// The custom resource of a request; `None` for the kinds of aggregated API servers.
pub(super) async fn custom_resource<S: SchemaSource>(
    sources: &S,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<Option<Arc<CrdShape>>, Undecided> {
    let (group, plural) = (&*request.resource.group, &*request.resource.resource);
    let found = timeout_at(deadline.into(), sources.custom_resource(group, plural)).await;
    match found {
        Ok(Ok(crd)) => Ok(crd),
        Ok(Err(error)) => {
            tracing::warn!(group, plural, error, "failed to read the schema of a kind");
            Err(Undecided::because(Reason::SchemaUnavailable))
        }
        Err(_) => Err(Undecided::because(Reason::DeadlineExceeded)),
    }
}
