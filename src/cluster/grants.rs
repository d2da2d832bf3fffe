//! The current break-glass grants.
//!
//! They are listed whenever they matter and never cached: a grant that was created a second ago must
//! count, and one that was revoked a second ago must not. Only break-glass identities cause this, so it is
//! rare.
//!
//! Ended grants stay for some time, in any number: they are skipped page by page.

use std::time::Instant;

use helm_guard_core::api::BreakGlassGrant;
use jiff::Timestamp;
use kube::{Api, Client, api::ListParams};
use tokio::time::timeout_at;

use super::ApiFailure;

/// If there are more than this, the read fails: otherwise a grant that covers the change could be missed.
const MOST_GRANTS: usize = 5_000;

/// Ended grants to return, so that a denial can say why one does not count.
const MOST_ENDED: usize = 200;

/// Grants in one page of the list.
const PAGE: u32 = 500;

/// The grants that are neither revoked nor expired, and some of the others; empty if the cluster does not
/// have the kind.
///
/// # Errors
/// When the API server denies it, does not answer in time, or has more grants than are read.
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

/// The grants that one user has requested, ended or not.
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

/// The grants that expired before a time.
///
/// # Errors
/// As for [`grants`].
pub(crate) async fn expired_before(
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
