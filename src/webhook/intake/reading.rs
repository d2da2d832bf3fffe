//! A body that is being read: all of it, or its head and its end.

use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use helm_guard_core::guard::Unread;
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::{Content, Held, RESERVE_FOR_RECORDS, Taken, before};
use crate::webhook::envelope::{
    EnvelopeError,
    head::{HEAD_BYTES, TAIL_BYTES, closed, is_dry_run},
};

/// The next part of a body.
pub(super) enum Next {
    Chunk(Bytes),
    End,
    Late,
    Failed,
}

/// A body that is being read.
pub(super) struct Reading {
    body: Body,
    pub(super) received: u64,
    pub(super) head: BodyHead,
    tail: Vec<u8>,
}

/// The first bytes of a body.
#[derive(Default)]
pub(super) struct BodyHead(Vec<u8>);

impl BodyHead {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.0.len());
        self.0.extend(bytes.iter().take(room));
    }
}

impl Reading {
    pub(super) fn of(body: Body) -> Self {
        Self {
            body,
            received: 0,
            head: BodyHead::default(),
            tail: Vec::new(),
        }
    }

    pub(super) async fn next(&mut self, until: Instant) -> Next {
        loop {
            return match timeout_at(until.into(), self.body.frame()).await {
                Err(_) => Next::Late,
                Ok(None) => Next::End,
                Ok(Some(Err(_))) => Next::Failed,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => {
                        self.received += chunk.len() as u64;
                        Next::Chunk(chunk)
                    }
                    // Trailers.
                    Err(_) => continue,
                },
            };
        }
    }

    /// Stores the part of a chunk that belongs to the head or the end.
    pub(super) fn store(&mut self, chunk: &[u8]) {
        self.head.append(chunk);
        let end = chunk.len().saturating_sub(TAIL_BYTES);
        self.tail
            .extend_from_slice(chunk.get(end..).unwrap_or_default());
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
    }

    /// Reads to the end and drops the data, while there is time.
    pub(super) async fn head<'i>(
        mut self,
        unread: Unread,
        deadline: Instant,
    ) -> Result<Taken<'i>, EnvelopeError> {
        let until = before(deadline, RESERVE_FOR_RECORDS);
        loop {
            match self.next(until).await {
                Next::Chunk(chunk) => self.store(&chunk),
                Next::End | Next::Late => break,
                Next::Failed => return Err(EnvelopeError::Unreceived),
            }
        }
        let unread = match unread {
            Unread::TooLarge { size, limit } => Unread::TooLarge {
                size: size.max(self.received),
                limit,
            },
            other => other,
        };
        self.answerable(unread)
    }

    pub(super) fn answerable<'i>(self, unread: Unread) -> Result<Taken<'i>, EnvelopeError> {
        let unanswerable = match unread {
            Unread::Late => EnvelopeError::Unreceived,
            Unread::TooLarge { .. } | Unread::OverBudget { .. } => EnvelopeError::TooLarge,
        };
        Ok(Taken {
            content: Content::Head {
                review: closed(&self.head.0).ok_or(unanswerable)?,
                // If unknown, an extra line is better than a missing one.
                is_dry_run: is_dry_run(&self.tail).unwrap_or_default(),
                unread,
            },
            held: Held::default(),
        })
    }
}
