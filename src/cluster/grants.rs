//! The break-glass grants, as they are now.
//!
//! They are listed whenever one counts and never remembered: a grant that was made a second ago must
//! count, and one that was revoked a second ago must not. Only a break-glass identity that changes what
//! is declared makes the guard ask, so this is rare.

use std::time::Instant;

use kube::{Api, Client, api::ListParams};
use tokio::time::timeout_at;

use super::ApiFailure;
use crate::api::BreakGlassGrant;

/// Grants are removed some time after they end, so there are few. Of more than this the rest is not
/// looked at: then nobody could say that none covers a change.
const MOST_GRANTS: usize = 5_000;

/// Grants in one answer of the API server.
const PAGE: u32 = 500;

/// All grants; none where the cluster has no such kind.
///
/// # Errors
/// When the API server refuses, does not answer in time, or has more than can be looked at.
pub async fn grants(
    client: &Client,
    deadline: Instant,
) -> Result<Vec<BreakGlassGrant>, ApiFailure> {
    let reading = timeout_at(deadline.into(), list(client));
    reading.await.unwrap_or_else(|_| Err(ApiFailure::timeout()))
}

async fn list(client: &Client) -> Result<Vec<BreakGlassGrant>, ApiFailure> {
    let api: Api<BreakGlassGrant> = Api::all(client.clone());
    let mut grants = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = match api.list(&params).await.map_err(ApiFailure::from) {
            Ok(page) => page,
            Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        grants.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(grants),
            Some(_) if grants.len() >= MOST_GRANTS => return Err(ApiFailure::too_many("grants")),
            Some(token) => params.continue_token = Some(token),
        }
    }
}
