//! Finds the ends of JSON values, 64 bytes at a time.
//!
//! For valid JSON, as the API server and this program write it. Invalid text results in some end or
//! none, and nothing worse.

use wide::u8x64;

/// The end of the value that starts at `at`; `None` if it does not end, or no value starts there.
pub fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => container_end(bytes, at),
        _ => Some(scalar_end(bytes, at)).filter(|end| *end > at),
    }
}

/// The end of the value that starts at `at`, given another value that is probably equal: equal text
/// ends at the same length and need not be scanned.
pub fn value_end_beside(bytes: &[u8], at: usize, other: &str) -> Option<usize> {
    // A number may continue where the other one ends.
    let ends_itself = other.starts_with(['{', '[', '"']);
    let rest = bytes.get(at..)?;
    if ends_itself && rest.starts_with(other.as_bytes()) {
        return Some(at + other.len());
    }
    value_end(bytes, at)
}

/// The end of the string that starts at `at`; `None` if it does not end.
pub(crate) fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at = quote_or_backslash(bytes, at)?;
        if bytes.get(at)? == &b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The end of the string that starts at `at`; `None` if it does not end, or contains a backslash.
pub fn plain_end(bytes: &[u8], at: usize) -> Option<usize> {
    let end = quote_or_backslash(bytes, at + 1)?;
    (bytes.get(end)? == &b'"').then_some(end + 1)
}

fn quote_or_backslash(bytes: &[u8], mut at: usize) -> Option<usize> {
    // Eight bytes at a time: most names and values are short.
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().ok()?);
        let found = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + found)
}

/// The highest bit of each byte of `word` that is `byte`; above the lowest such byte, others may be
/// marked too.
const fn bytes_equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zeros = word ^ (ONES * byte as u64);
    zeros.wrapping_sub(ONES) & !zeros & (ONES << 7)
}

/// The end of the number or literal that starts at `at`.
pub(crate) fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let is_end = |byte: &u8| {
        matches!(
            byte,
            b',' | b'}' | b']' | b':' | b' ' | b'\n' | b'\t' | b'\r'
        )
    };
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// The next position that is not space, a comma or a colon.
pub(crate) fn skip_signs(bytes: &[u8], at: usize) -> usize {
    let is_skipped = |byte: &u8| matches!(byte, b',' | b':' | b' ' | b'\n' | b'\t' | b'\r');
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| is_skipped(byte)).count()
}

/// The end of the object or list that starts at `at`; `None` if it does not end.
pub(crate) fn container_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut strings = Strings::default();
    let mut depth = 0_u32;
    loop {
        let block = Block::at(bytes, at)?;
        let inside = strings.inside(&block);
        let (opens, closes) = (block.opens & !inside, block.closes & !inside);
        let closing = closes.count_ones();
        if closing < depth {
            depth = depth + opens.count_ones() - closing;
        } else {
            // It may end in this block: check one bracket after the other.
            let mut brackets = opens | closes;
            while brackets != 0 {
                let bracket = brackets & brackets.wrapping_neg();
                brackets ^= bracket;
                if opens & bracket != 0 {
                    depth += 1;
                    continue;
                }
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + bracket.trailing_zeros() as usize + 1);
                }
            }
        }
        at += BLOCK;
    }
}

const BLOCK: usize = 64;

/// Bit masks of 64 bytes; the first byte is the lowest bit.
struct Block {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
}

impl Block {
    /// The bytes from `at` on, padded with blanks. `None` at the end.
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        if let Some(whole) = rest.first_chunk::<BLOCK>() {
            return Some(Self::of(*whole));
        }
        let mut padded = [b' '; BLOCK];
        padded.get_mut(..rest.len())?.copy_from_slice(rest);
        Some(Self::of(padded))
    }

    fn of(bytes: [u8; BLOCK]) -> Self {
        let bytes = u8x64::from(bytes);
        let are = |bytes: u8x64, byte: u8| bytes.simd_eq(u8x64::splat(byte)).to_bitmask();
        // `[` and `{` differ only in this bit, and so do `]` and `}`.
        let braces = bytes | u8x64::splat(b'{' ^ b'[');
        Self {
            quotes: are(bytes, b'"'),
            backslashes: are(bytes, b'\\'),
            opens: are(braces, b'{'),
            closes: are(braces, b'}'),
        }
    }
}

/// The string state, from block to block.
#[derive(Default)]
struct Strings {
    /// All bits set if the last block ended within a string.
    open: u64,
    /// The lowest bit set if the last block ended with an escaping backslash.
    escaping: u64,
}

impl Strings {
    /// The bytes of the block within strings, including the opening quotes.
    fn inside(&mut self, block: &Block) -> u64 {
        let quotes = block.quotes & !self.escaped(block.backslashes);
        // Each bit becomes the parity of the quotes up to it.
        let mut inside = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= self.open;
        self.open = (inside >> 63).wrapping_neg();
        inside
    }

    /// The bytes after a backslash that is not escaped itself.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = self.escaping;
        let mut left = backslashes & !escaped;
        self.escaping = 0;
        while left != 0 {
            let backslash = left & left.wrapping_neg();
            let next = backslash << 1;
            self.escaping = backslash >> 63;
            escaped |= next;
            left &= !(backslash | next);
        }
        escaped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// One byte after the other.
    fn plain_container_end(bytes: &[u8]) -> Option<usize> {
        let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_string => is_escaped = true,
                b'"' => is_string = !is_string,
                b'{' | b'[' if !is_string => depth += 1,
                b'}' | b']' if !is_string => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_container_ends_where_it_does_byte_by_byte(
            inner in r#"([a-z:, é]{0,40}|"([a-z\[\]\{\}]|\\\\|\\"|\\u007b){0,90}"|[\{\[\}\]]){0,12}"#,
            before in "[a-z]{0,70}",
            closing in 0_usize..14,
        ) {
            let text = format!("{before}[{inner}{}", "]".repeat(closing));
            let at = before.len();
            let expected = plain_container_end(&text.as_bytes()[at..]).map(|end| at + end);
            prop_assert_eq!(container_end(text.as_bytes(), at), expected);
        }
    }

    #[test]
    fn escapes_count_across_blocks() {
        for before in 0..140 {
            for backslashes in 0..5 {
                let text = format!(
                    "[\"{}{}\" ,\"]\"]]",
                    "a".repeat(before),
                    "\\".repeat(backslashes)
                );
                let expected = plain_container_end(text.as_bytes());
                assert_eq!(
                    container_end(text.as_bytes(), 0),
                    expected,
                    "{before} {backslashes}"
                );
            }
        }
    }

    #[rstest]
    #[case::short(r#"{"a":1}"#, 1, Some(4))]
    #[case::longer_than_a_word(r#""0123456789","#, 0, Some(12))]
    #[case::escape(r#""a\nb""#, 0, None)]
    #[case::unterminated(r#""a"#, 0, None)]
    fn a_string_without_escapes_ends_at_the_next_quote(
        #[case] text: &str,
        #[case] at: usize,
        #[case] end: Option<usize>,
    ) {
        assert_eq!(plain_end(text.as_bytes(), at), end);
    }

    #[test]
    fn an_unterminated_value_has_no_end() {
        for text in ["", "[", "[\"]", "{\"a\":{}", "\"", "\"\\\"", "]"] {
            assert_eq!(value_end(text.as_bytes(), 0), None, "{text}");
        }
    }
}
