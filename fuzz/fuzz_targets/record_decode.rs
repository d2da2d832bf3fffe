//! Any bytes may be in a release record. Decoding takes no more memory than its limit, the result names a
//! release, and it is the same with and without compression.
//!
//! The first byte determines the layer of the rest: as the payload, or inside base64, plain and compressed,
//! which random bytes would never reach; or repeated many times in a small gzip.

#![no_main]

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use helm_guard_core::helm::{
    manifest,
    record::{DecodeError, EnvelopeError, Record, RecordLimits, decode},
};
use libfuzzer_sys::fuzz_target;

const LIMITS: RecordLimits = RecordLimits {
    inflated_bytes: 1 << 16,
};

/// How often the bytes are repeated to reach the limit.
const TIMES: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some((depth, rest)) = input.split_first() else {
        return;
    };
    match depth % 3 {
        0 => check(&decode(rest, &LIMITS)),
        1 => {
            let [plain, packed] = [rest.to_vec(), gzip(rest)].map(|inner| read(&inner));
            check(&plain);
            // A record that is compressed twice is invalid.
            if !rest.starts_with(&[0x1f, 0x8b]) {
                let [plain, packed] =
                    [plain, packed].map(|read| read.map_err(|error| error.to_string()));
                assert_eq!(plain, packed);
            }
        }
        _ => {
            let bomb = read(&gzip(&rest.repeat(TIMES)));
            let is_refused = matches!(
                bomb,
                Err(DecodeError::Envelope(EnvelopeError::TooLarge { .. }))
            );
            assert_eq!(is_refused, rest.len() * TIMES > LIMITS.inflated_bytes);
            check(&bomb);
        }
    }
});

fn check(read: &Result<Record, DecodeError>) {
    match read {
        Ok(record) => {
            assert!(!record.release.name.is_empty() && record.revision > 0);
            assert!(record.manifest.len() <= LIMITS.inflated_bytes);
            let _ = format!("{record:?}");
            let _ = manifest::parse(&record.manifest, &record.release);
        }
        Err(error) => drop(error.to_string()),
    }
}

fn read(inner: &[u8]) -> Result<Record, DecodeError> {
    decode(BASE64_STANDARD.encode(inner).as_bytes(), &LIMITS)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
