//! Logs the address of each client once, and answers those without a registered path.
//!
//! Invariant: clients cannot cause more than [`REMEMBERED`] lines.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{LazyLock, PoisonError, RwLock},
};

use axum::{
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use http::StatusCode;

use crate::{record::Recorder, webhook::accept::Peer};

/// The maximum number of logged addresses. If more clients reach the port, it is open to the world.
const REMEMBERED: usize = 1024;

/// The logged addresses.
#[derive(Default)]
struct Seen(RwLock<HashSet<IpAddr>>);

impl Seen {
    /// Whether it is the first request from an address, among the remembered ones.
    fn is_first(&self, address: IpAddr) -> bool {
        let read = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if read.contains(&address) || read.len() >= REMEMBERED {
            return false;
        }
        drop(read);
        let mut write = self.0.write().unwrap_or_else(PoisonError::into_inner);
        write.len() < REMEMBERED && write.insert(address)
    }
}

static SERVED: LazyLock<Seen> = LazyLock::new(Seen::default);
static REFUSED: LazyLock<Seen> = LazyLock::new(Seen::default);

fn address(http: &HttpRequest) -> Option<IpAddr> {
    http.extensions()
        .get::<Peer>()
        .map(|Peer(address)| *address)
}

/// A client with a registered path.
pub(super) fn welcome(http: &HttpRequest) {
    if let Some(address) = address(http).filter(|address| SERVED.is_first(*address)) {
        tracing::info!(%address, "first review from this address");
    }
}

/// A client without one. The answer does not show which part of the path is wrong.
pub(super) fn refuse(recorder: &Recorder, http: &HttpRequest) -> Response {
    recorder.metrics.rejected("unknown-path");
    if let Some(address) = address(http).filter(|address| REFUSED.is_first(*address)) {
        tracing::warn!(
            %address,
            "rejected a request to a path that is not registered: only API servers need to reach this port"
        );
    }
    StatusCode::NOT_FOUND.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_logged_once_and_their_number_is_limited() {
        let seen = Seen::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        assert!(seen.is_first(address(0)));
        assert!(!seen.is_first(address(0)));
        let logged = (1..5000).filter(|n| seen.is_first(address(*n))).count();
        assert_eq!(logged, REMEMBERED - 1);
    }
}
