//! The webhook: what the API server talks to.
//!
//! A review comes in over [`accept`] (sockets, TLS, time limits, drain), is taken by [`intake`] (size,
//! memory, time), read by [`envelope`],
//! answered by `handler` from what [`crate::review`] decides, and leaves as [`answer`] writes it. The certificate that it is served with comes from
//! [`certificates`] or from files, and lives in [`tls`]; [`registration`] tells the API server
//! where to call and whom to trust; [`upkeep`] keeps the two in step, in the order that never lets
//! a call fail; [`versions`] says which versions the API server shall convert objects to. [`admin`] answers probes and scrapes on a plain port of its own, and [`shutdown`]
//! ends it all in the order that loses no call.

pub mod accept;
pub mod admin;
pub mod answer;
pub mod certificates;
pub mod endpoint;
pub mod envelope;
pub(crate) mod handler;
pub mod intake;
pub mod paths;
pub mod registration;
pub mod shutdown;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod upkeep;
pub mod versions;
