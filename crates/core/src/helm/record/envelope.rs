//! The envelope of a record: base64, and gzip inside it.

use std::{borrow::Cow, io::Read};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::read::MultiGzDecoder;

use super::RecordLimits;

/// How Helm distinguishes a compressed record from an old plain one (`pkg/storage/driver/util.go`).
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];

/// Why the envelope of a record cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not base64.
    #[error("failed to decode the record: it is not base64")]
    Base64(#[source] base64::DecodeError),
    /// Starts like gzip, but is invalid or truncated.
    #[error("failed to inflate the record")]
    Gzip(#[source] std::io::Error),
    /// More JSON than [`RecordLimits`] allow.
    #[error("failed to inflate the record: it holds more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More JSON than the payload claims.
    #[error("failed to inflate the record: it is larger than its header claims")]
    MoreThanClaimed,
}

/// The size of the result of [`open`], as far as the two ends of the payload show it.
pub(super) fn claimed_bytes(payload: &[u8]) -> usize {
    let head: Vec<u8> = significant(payload.iter()).take(4).collect();
    let is_gzip = BASE64_STANDARD
        .decode(&head)
        .is_ok_and(|head| head == GZIP_MAGIC);
    let mut tail: Vec<u8> = significant(payload.iter().rev()).take(8).collect();
    tail.reverse();
    match BASE64_STANDARD.decode(&tail) {
        Ok(tail) if is_gzip => isize_of(&tail).min(most_of(payload.len())),
        Ok(_) => payload.len(),
        Err(_) => 0,
    }
}

fn significant<'b>(bytes: impl Iterator<Item = &'b u8>) -> impl Iterator<Item = u8> {
    bytes.copied().filter(|byte| !is_line_break(*byte))
}

fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The JSON inside.
pub(super) fn open(payload: &[u8], limits: RecordLimits) -> Result<Vec<u8>, EnvelopeError> {
    let inner = BASE64_STANDARD
        .decode(without_line_breaks(payload))
        .map_err(EnvelopeError::Base64)?;
    let json = if inner.starts_with(GZIP_MAGIC) {
        inflate(&inner, limits)?
    } else {
        inner
    };
    if json.len() > limits.inflated_bytes {
        return Err(EnvelopeError::TooLarge {
            limit: limits.inflated_bytes,
        });
    }
    Ok(json)
}

/// Go's decoder skips line breaks; Helm writes none, but a hand-edited record may contain some.
fn without_line_breaks(payload: &[u8]) -> Cow<'_, [u8]> {
    if payload.iter().any(|byte| is_line_break(*byte)) {
        significant(payload.iter()).collect()
    } else {
        Cow::Borrowed(payload)
    }
}

/// The size of the content, from the last four bytes (RFC 1952, ISIZE), which may be wrong.
fn isize_of(gzip: &[u8]) -> usize {
    let said = gzip.last_chunk().copied().map_or(0, u32::from_le_bytes);
    usize::try_from(said).unwrap_or(usize::MAX)
}

/// The largest expansion factor of Deflate.
fn most_of(bytes: usize) -> usize {
    bytes.saturating_mul(1032)
}

/// A payload that claims to be too large is not inflated, and one that is larger than it claims is
/// aborted: Helm writes one gzip member with the correct size. So nothing takes more memory than was
/// reserved for it.
fn inflate(gzip: &[u8], limits: RecordLimits) -> Result<Vec<u8>, EnvelopeError> {
    let (claimed, limit) = (isize_of(gzip), limits.inflated_bytes);
    if claimed > limit {
        return Err(EnvelopeError::TooLarge { limit });
    }
    // One byte more, to see the end.
    let mut json = Vec::with_capacity(claimed.min(most_of(gzip.len())) + 1);
    MultiGzDecoder::new(gzip)
        .take(u64::try_from(claimed).unwrap_or(u64::MAX).saturating_add(1))
        .read_to_end(&mut json)
        .map_err(EnvelopeError::Gzip)?;
    if json.len() > claimed {
        return Err(EnvelopeError::MoreThanClaimed);
    }
    Ok(json)
}
