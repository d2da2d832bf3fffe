//! Whether a namespace is terminating.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

use super::ApiFailure;

/// Whether a namespace is being deleted, or does not exist. Reads only its metadata.
pub(crate) async fn is_terminating(client: &Client, name: &str) -> Result<bool, ApiFailure> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get_metadata_opt(name).await.map_err(ApiFailure::from)?;
    Ok(found.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}
