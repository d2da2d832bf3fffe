//! Receives the bodies of reviews, within limits of size, memory and time.
//!
//! A user can choose the size of a review by padding an object, so size must neither bypass nor crash
//! the guard. A body that is too large, or exceeds the memory budget, is read to its end but dropped
//! except for its head ([`super::envelope::head`]), from which it is answered.
//!
//! Invariants
//! - The memory of all bodies is within [`IntakeLimits`]; large reviews cannot use the share of small ones.
//!   A body no larger than a head is always accepted: this much is held for any review, and the number
//!   of reviews limits it.
//! - No more reviews are evaluated concurrently than [`IntakeLimits`] allows; the others are answered from their
//!   heads, like those that exceed the memory budget. Only more reviews than API servers ever send are
//!   rejected.
//! - No body is awaited beyond the deadline, and its memory is released when its review is answered.
//! - If time allows, the body is read before the answer: a client that still writes when the
//!   connection closes may mistake the answer for a broken connection (Go's
//!   `persistConn.roundTrip`).
//!
//! Start at [`Intake::take`].

mod reading;

use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use helm_guard_core::guard::{Request, Unread};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout_at,
};

use self::reading::{Next, Reading};
use super::envelope::{self, EnvelopeError, MAX_BODY_BYTES, head::HEAD_BYTES};

/// Time reserved for the answer itself.
const RESERVE: Duration = Duration::from_millis(200);

/// Time reserved if the answer needs the release records.
const RESERVE_FOR_RECORDS: Duration = Duration::from_millis(600);

/// The unit of a permit.
const KIB: usize = 1024;

/// The memory limits, in bytes, and the limits of reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IntakeLimits {
    /// The largest review that counts as small.
    pub(crate) small: usize,
    /// All small reviews together.
    pub(crate) small_together: usize,
    /// All others together.
    pub(crate) large_together: usize,
    /// Concurrently evaluated reviews.
    pub(crate) evaluated: usize,
    /// Concurrent reviews, including those that wait and those that are answered from their heads:
    /// three API servers send no more, with 600 requests in flight each by default
    /// (`--max-requests-inflight` and its mutating part). Each may hold 64 KiB outside of the budget of
    /// bytes, 128 MiB in all.
    pub(crate) taken: usize,
}

impl Default for IntakeLimits {
    /// 96 MiB in total: a fifth of the memory limit of the shipped Deployment. An evaluation needs
    /// little more than the body; two of the largest reviews fit at the same time, or a thousand of
    /// ordinary size.
    fn default() -> Self {
        const MIB: usize = 1024 * KIB;
        Self {
            small: MIB,
            small_together: 32 * MIB,
            large_together: 2 * MAX_BODY_BYTES,
            evaluated: 1024,
            taken: 2048,
        }
    }
}

/// The budget for bodies.
#[derive(Debug)]
pub(crate) struct Intake {
    limits: IntakeLimits,
    small: Semaphore,
    large: Semaphore,
    evaluated: Semaphore,
    taken: Semaphore,
}

impl Default for Intake {
    fn default() -> Self {
        Self::new(IntakeLimits::default())
    }
}

/// A received body, entire or in part; holds its part of the budget.
#[derive(Debug)]
pub(crate) struct Taken<'i> {
    content: Content,
    held: Held<'i>,
}

/// Parts of the budget: bytes, evaluated reviews, all reviews.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "held, not read")]
struct Held<'i> {
    bytes: Option<SemaphorePermit<'i>>,
    evaluated: Option<SemaphorePermit<'i>>,
    taken: Option<SemaphorePermit<'i>>,
}

#[derive(Debug)]
enum Content {
    Whole(Vec<u8>),
    Head {
        review: Vec<u8>,
        is_dry_run: bool,
        unread: Unread,
    },
}

impl Taken<'_> {
    /// Parses the request.
    pub(crate) fn request(&self) -> Result<Request<'_>, EnvelopeError> {
        match &self.content {
            Content::Whole(body) => envelope::parse(body),
            Content::Head {
                review,
                is_dry_run,
                unread,
            } => Ok(Request {
                unread: Some(*unread),
                dry_run: *is_dry_run,
                ..envelope::parse(review)?
            }),
        }
    }
}

impl Intake {
    /// A budget with these limits.
    pub(crate) fn new(limits: IntakeLimits) -> Self {
        Self {
            limits,
            small: Semaphore::new(limits.small_together / KIB),
            large: Semaphore::new(limits.large_together / KIB),
            evaluated: Semaphore::new(limits.evaluated),
            taken: Semaphore::new(limits.taken),
        }
    }

    /// Receives a body of at most `limit` bytes; only the head of one that is larger, exceeds the
    /// memory budget, or does not arrive in time.
    ///
    /// # Errors
    /// When the connection fails, when there is no head to answer from, and when there are more reviews
    /// than API servers send.
    pub(crate) async fn take(
        &self,
        body: Body,
        limit: usize,
        deadline: Instant,
    ) -> Result<Taken<'_>, EnvelopeError> {
        let place = self.taken.try_acquire().map_err(|_| EnvelopeError::Shed)?;
        let patience = halfway(deadline);
        let evaluating = timeout_at(patience.into(), self.evaluated.acquire());
        // The semaphore is never closed.
        let evaluated = evaluating.await.ok().and_then(Result::ok);
        let mut taken = if evaluated.is_some() {
            self.take_within(body, limit, (patience, deadline)).await?
        } else {
            let size = body.size_hint().exact().unwrap_or_default();
            let reading = Reading::of(body);
            reading.head(Unread::OverBudget { size }, deadline).await?
        };
        taken.held.evaluated = evaluated;
        taken.held.taken = Some(place);
        Ok(taken)
    }

    async fn take_within(
        &self,
        body: Body,
        limit: usize,
        (patience, deadline): (Instant, Instant),
    ) -> Result<Taken<'_>, EnvelopeError> {
        let said = body.size_hint().exact();
        let mut reading = Reading::of(body);
        // A body of unknown length may have any size; no API server sends one.
        let most = said.map_or(limit, |said| usize::try_from(said).unwrap_or(usize::MAX));
        let size = said.unwrap_or_default();
        if most > limit {
            return reading
                .head(Unread::TooLarge { size, limit }, deadline)
                .await;
        }
        let held = if most <= HEAD_BYTES {
            None
        } else {
            match self.hold(most, patience).await {
                Some(held) => Some(held),
                None => return reading.head(Unread::OverBudget { size }, deadline).await,
            }
        };
        let mut whole = Vec::with_capacity(said.map_or(HEAD_BYTES, |_| most));
        let until = before(deadline, RESERVE);
        loop {
            match reading.next(until).await {
                Next::Chunk(chunk) if whole.len() + chunk.len() > limit => {
                    reading.head.append(&whole);
                    reading.store(&chunk);
                    drop((whole, held));
                    let size = reading.received;
                    return reading
                        .head(Unread::TooLarge { size, limit }, deadline)
                        .await;
                }
                Next::Chunk(chunk) => whole.extend_from_slice(&chunk),
                Next::End => {
                    return Ok(Taken {
                        content: Content::Whole(whole),
                        held: Held {
                            bytes: held,
                            ..Held::default()
                        },
                    });
                }
                Next::Late => {
                    reading.head.append(&whole);
                    return reading.answerable(Unread::Late);
                }
                Next::Failed => return Err(EnvelopeError::Unreceived),
            }
        }
    }

    /// A part of the budget, once available; `None` if not in time.
    async fn hold(&self, bytes: usize, until: Instant) -> Option<SemaphorePermit<'_>> {
        let budget = if bytes <= self.limits.small {
            &self.small
        } else {
            &self.large
        };
        let kib = u32::try_from(bytes.div_ceil(KIB)).ok()?;
        let holding = timeout_at(until.into(), budget.acquire_many(kib));
        // The semaphore is never closed.
        holding.await.ok()?.ok()
    }
}

fn before(deadline: Instant, reserve: Duration) -> Instant {
    deadline.checked_sub(reserve).unwrap_or(deadline)
}

/// Half of the remaining time: the other half is for the answer without the body.
fn halfway(deadline: Instant) -> Instant {
    before(deadline, deadline.saturating_duration_since(now()) / 2)
}

/// The runtime's clock, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
