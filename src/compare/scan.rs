//! Finds the ends of JSON values.
//!
//! For text that a parser has accepted: what is no JSON gives some end or none, and nothing worse.

/// After the string that starts at `at`; `None` if it does not end.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        // Eight bytes at a time: nearly all of a manifest is strings.
        while let Some(chunk) = bytes.get(at..at + 8) {
            let word = u64::from_le_bytes(chunk.try_into().ok()?);
            let found = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
            if found != 0 {
                at += found.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The highest bit of each byte of `word` that is `byte`; above the lowest such byte, others may be
/// marked too.
const fn bytes_equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zeros = word ^ (ONES * byte as u64);
    zeros.wrapping_sub(ONES) & !zeros & (ONES << 7)
}

/// After the number or literal that starts at `at`.
pub fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let is_end = |byte: &u8| {
        matches!(
            byte,
            b',' | b'}' | b']' | b':' | b' ' | b'\n' | b'\t' | b'\r'
        )
    };
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// After the object or list that starts at `at`; `None` if it does not end.
pub fn container_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}
