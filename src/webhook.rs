//! The webhook: what the API server calls.
//!
//! A review arrives over [`accept`] (sockets, TLS, time limits, drain). [`intake`] grants it memory and time,
//! [`envelope`] parses it, `handler` answers it with the decision of [`crate::review`], and [`answer`] writes
//! the response.
//!
//! The certificate comes from [`certificates`] or from files, and [`tls`] serves it. [`registration`] tells the
//! API server where to call and which CA to trust, and [`versions`] to which versions to convert objects.
//! [`registrar`] keeps certificate and registration in sync, in an order in which no call fails.
//!
//! [`admin`] answers probes and scrapes on a separate port. [`shutdown`] stops everything in an order in which
//! no call is lost.

pub mod accept;
pub mod admin;
pub mod answer;
pub mod certificates;
pub mod endpoint;
pub mod envelope;
pub(crate) mod handler;
pub(crate) mod intake;
mod marks;
pub mod paths;
pub mod registrar;
pub mod registration;
pub mod shutdown;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod versions;
