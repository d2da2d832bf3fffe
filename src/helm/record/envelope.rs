//! The wrapping of a record: base64, and gzip inside it.

use std::{borrow::Cow, io::Read};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::read::MultiGzDecoder;

use super::Limits;

/// How Helm tells a compressed record from an old plain one (`pkg/storage/driver/util.go`).
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];

/// Why the wrapping of a record can not be taken off.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not base64.
    #[error("failed to decode the record: it is not base64")]
    Base64(#[source] base64::DecodeError),
    /// Starts like gzip, and then is not, or is cut off.
    #[error("failed to inflate the record")]
    Gzip(#[source] std::io::Error),
    /// More JSON than [`Limits`] allow.
    #[error("failed to inflate the record: it holds more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// The JSON inside.
pub(super) fn open(payload: &[u8], limits: Limits) -> Result<Vec<u8>, EnvelopeError> {
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

/// Go's decoder skips line breaks; Helm writes none, but a hand-edited record may hold some.
fn without_line_breaks(payload: &[u8]) -> Cow<'_, [u8]> {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if payload.iter().any(is_break) {
        payload
            .iter()
            .copied()
            .filter(|byte| !is_break(byte))
            .collect()
    } else {
        Cow::Borrowed(payload)
    }
}

/// The size of what is inside, and one byte to see its end: it is in the last four bytes (RFC 1952,
/// ISIZE), which may say anything.
fn said_size(gzip: &[u8]) -> usize {
    let said = gzip.last_chunk().copied().map_or(0, u32::from_le_bytes);
    // Deflate makes no more than this of its input, so nobody is promised memory for nothing.
    let possible = gzip.len().saturating_mul(1032);
    usize::try_from(said).unwrap_or(0).min(possible) + 1
}

/// At most one byte over the limit, which tells the caller that there is more.
fn inflate(gzip: &[u8], limits: Limits) -> Result<Vec<u8>, EnvelopeError> {
    let bound = u64::try_from(limits.inflated_bytes).unwrap_or(u64::MAX);
    let mut json = Vec::with_capacity(said_size(gzip).min(limits.inflated_bytes));
    MultiGzDecoder::new(gzip)
        .take(bound.saturating_add(1))
        .read_to_end(&mut json)
        .map_err(EnvelopeError::Gzip)?;
    Ok(json)
}
