//! The break-glass grants, as they are now.
//!
//! They are listed whenever one counts and never remembered: a grant that was made a second ago must
//! count, and one that was revoked a second ago must not. Only a break-glass identity makes the guard ask,
//! so this is rare.
//!
//! Grants that have ended are kept for some time, and of those there may be any number: they are passed
//! over page by page.

use std::time::Instant;

use helm_guard_core::api::BreakGlassGrant;
use jiff::Timestamp;
use kube::{Api, Client, api::ListParams};
use tokio::time::timeout_at;

use super::ApiFailure;

/// Of more than this the rest is not looked at: then nobody could say that none covers a change.
const MOST_GRANTS: usize = 5_000;

/// Ended grants that are kept, so that a refusal can say what became of one.
const MOST_ENDED: usize = 200;

/// Grants in one answer of the API server.
const PAGE: u32 = 500;

/// The grants that are neither revoked nor expired, and some of the others; none where the cluster has no
/// such kind.
///
/// # Errors
/// When the API server refuses, does not answer in time, or has more than can be looked at.
pub async fn grants(
    client: &Client,
    deadline: Instant,
) -> Result<Vec<BreakGlassGrant>, ApiFailure> {
    let now = Timestamp::now();
    let mut ended = 0;
    list(client, deadline, |grant| {
        let is_over = grant.spec.revoked || grant.spec.expires_at.0 <= now;
        ended += usize::from(is_over);
        !is_over || ended <= MOST_ENDED
    })
    .await
}

/// The grants that one person has asked for, ended or not.
///
/// # Errors
/// As for [`grants`].
pub async fn requested_by(
    client: &Client,
    user: &str,
    deadline: Instant,
) -> Result<Vec<BreakGlassGrant>, ApiFailure> {
    list(client, deadline, |grant| grant.spec.requested_by == user).await
}

/// The grants that have expired before a time.
///
/// # Errors
/// As for [`grants`].
pub async fn expired_before(
    client: &Client,
    at: Timestamp,
    deadline: Instant,
) -> Result<Vec<BreakGlassGrant>, ApiFailure> {
    list(client, deadline, |grant| grant.spec.expires_at.0 < at).await
}

async fn list(
    client: &Client,
    deadline: Instant,
    wanted: impl FnMut(&BreakGlassGrant) -> bool,
) -> Result<Vec<BreakGlassGrant>, ApiFailure> {
    let reading = timeout_at(deadline.into(), pages(client, wanted));
    reading.await.unwrap_or_else(|_| Err(ApiFailure::timeout()))
}

async fn pages(
    client: &Client,
    mut wanted: impl FnMut(&BreakGlassGrant) -> bool,
) -> Result<Vec<BreakGlassGrant>, ApiFailure> {
    let api: Api<BreakGlassGrant> = Api::all(client.clone());
    let mut grants = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = match api.list(&params).await.map_err(ApiFailure::from) {
            Ok(page) => page,
            Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        grants.extend(page.items.into_iter().filter(&mut wanted));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(grants),
            Some(_) if grants.len() >= MOST_GRANTS => return Err(ApiFailure::too_many("grants")),
            Some(token) => params.continue_token = Some(token),
        }
    }
}
