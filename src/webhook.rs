//! The webhook: reviews in, answers out.

pub mod answer;
pub mod envelope;
