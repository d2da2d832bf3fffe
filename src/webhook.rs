//! The webhook: reviews in, answers out.

pub mod accept;
pub mod answer;
pub mod certificates;
pub mod endpoint;
pub mod envelope;
pub mod registration;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod upkeep;
