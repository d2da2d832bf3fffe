//! Why break-glass is refused, worded for the denial.

use std::fmt;

use jiff::Timestamp;

use crate::text::{counted, second};

/// Why a break-glass identity may not make this change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The policy allows them other places, not this one.
    OutOfReach,
    /// A grant is needed, and none names this identity.
    NoGrant,
    /// The grants that name this identity do not cover the change.
    Uncovered(Vec<(String, GrantFault)>),
    /// A grant is needed, and the grants could not be read.
    Unreadable(String),
}

/// Why a grant does not cover a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantFault {
    /// It was revoked.
    Revoked,
    /// It has expired.
    Ended {
        /// When it ended.
        at: Timestamp,
        /// What ended it.
        by: End,
    },
    /// It was created in the future, or has no creation time.
    MadeInFuture,
    /// It is only for other objects: its scope, in words.
    OutOfScope(String),
    /// The policy requires a reason.
    NoReason,
    /// The policy requires a ticket.
    NoTicket,
    /// It has too few approvals.
    Approvals {
        /// The number that count.
        given: usize,
        /// The number that the policy requires.
        needed: usize,
    },
}

/// What ends a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its own `expiresAt`.
    Expiry,
    /// The policy's `maxDuration`.
    LongestDuration,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfReach => {
                f.write_str("the policy does not allow this identity to do this here")
            }
            Self::NoGrant => f.write_str("no grant names this identity"),
            Self::Unreadable(why) => write!(f, "the grants could not be read: {why}"),
            Self::Uncovered(faults) => {
                for (n, (grant, fault)) in faults.iter().enumerate() {
                    let comma = if n == 0 { "" } else { "; " };
                    write!(f, "{comma}grant {grant} {fault}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for GrantFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked => f.write_str("was revoked"),
            Self::Ended {
                at,
                by: End::Expiry,
            } => write!(f, "expired at {}", second(*at)),
            Self::Ended {
                at,
                by: End::LongestDuration,
            } => write!(
                f,
                "ended at {}, by the policy's maximum duration",
                second(*at)
            ),
            Self::MadeInFuture => f.write_str("was created in the future: a clock is wrong"),
            Self::OutOfScope(scope) => write!(f, "is only for {scope}"),
            Self::NoReason => f.write_str("has no reason"),
            Self::NoTicket => f.write_str("has no ticket"),
            Self::Approvals { given, needed } => {
                write!(f, "has {given} of {}", counted(*needed, "approval"))
            }
        }
    }
}
