//! Numbers in hexadecimal, as our formats write them: lower case, so that each number is written in one way.

/// The number of these digits, 16 at most; None: they are none.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u64::from(value);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn only_lower_case_digits_are_a_number() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"00c0ffee"), Some(0xc0_ffee));
        assert_eq!(number(b"ffffffffffffffff"), Some(u64::MAX));
        for other in ["", "+1", "C0", "0x1", "1 ", "10000000000000000"] {
            assert_eq!(number(other.as_bytes()), None, "`{other}`");
        }
    }
}
