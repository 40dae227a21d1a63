//! Decimal numbers out of bytes, without a detour over `str`.
//!
//! Strict: empty, signs where none belong, and overflow are `None`, so that a caller reports a malformed file.

/// An unsigned decimal number that fills the whole slice.
pub(crate) fn unsigned(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    Some(value)
}

/// A decimal number with an optional minus that fills the whole slice.
pub(crate) fn signed(bytes: &[u8]) -> Option<i64> {
    match bytes.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(bytes)?).ok(),
    }
}

/// As [`signed`], for the kernel's `pid_t` fields.
pub(crate) fn pid(bytes: &[u8]) -> Option<i32> {
    i32::try_from(signed(bytes)?).ok()
}

/// An unsigned hexadecimal number that fills the whole slice, as in the signal masks of `status`.
pub(crate) fn hexadecimal(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.starts_with('+') { None } else { u64::from_str_radix(text, 16).ok() }
}

/// The words of a line, split at any run of blanks.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_the_slice_or_are_refused() {
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(hexadecimal(b"0000000000001000"), Some(4096));
        for bad in [&b""[..], b"-", b"+1", b"1 ", b"18446744073709551616", b"0x1", b"\xff"] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
            assert_eq!(signed(bad), None, "{bad:?}");
        }
        assert_eq!(pid(b"4294967296"), None);
        assert_eq!(hexadecimal(b"+1"), None);
    }
}
