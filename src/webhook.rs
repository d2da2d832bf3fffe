//! The webhook: reviews in, answers out.

pub mod answer;
pub mod certificates;
pub mod endpoint;
pub mod envelope;
pub mod registration;
pub mod tls;
pub mod upkeep;
