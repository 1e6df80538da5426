//! Numbers as decimal digits, without a detour through `fmt` where records are made of them.

use std::io::Write as _;

/// Pairs of digits, `00` to `99`.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Appends `value`.
pub(super) fn push_uint(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    while value >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(pair(value % 100));
        value /= 100;
    }
    if value >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(pair(value));
    } else {
        start -= 1;
        digits[start] = b'0' + value as u8;
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends `value`, a minus before it if it has one.
pub(super) fn push_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_uint(out, value.unsigned_abs());
}

/// Appends `value` as JSON writes numbers, in the shortest form that reads back as the same; false, and nothing is
/// appended, for what JSON has no number for.
pub(super) fn push_float(out: &mut Vec<u8>, value: f64) -> bool {
    if !value.is_finite() {
        return false;
    }
    let written = write!(out, "{value:?}");
    debug_assert!(written.is_ok(), "writing to a vector cannot fail");
    true
}

/// The two digits of a number below 100.
pub(super) fn pair(value: u64) -> &'static [u8] {
    let at = (value % 100) as usize * 2;
    &PAIRS[at..at + 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whole numbers read as the standard library writes them.
        #[test]
        fn whole_numbers_are_the_usual_digits(value in any::<u64>(), shift in 0u32..64, signed in any::<i64>()) {
            let (value, signed) = (value >> shift, signed >> shift);
            let mut out = Vec::new();
            push_uint(&mut out, value);
            out.push(b' ');
            push_int(&mut out, signed);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{value} {signed}"));
        }

        /// What JSON reads back is the same number, to the last bit.
        #[test]
        fn floats_read_back_as_the_same(value in any::<f64>()) {
            let mut out = Vec::new();
            prop_assert_eq!(push_float(&mut out, value), value.is_finite());
            if value.is_finite() {
                let text = String::from_utf8(out).unwrap();
                let read: f64 = text.parse().unwrap();
                prop_assert_eq!(read.to_bits(), value.to_bits());
                prop_assert!(serde_json::from_str::<f64>(&text).is_ok());
            }
        }
    }

    #[test]
    fn the_ends_of_the_ranges() {
        let mut out = Vec::new();
        push_int(&mut out, i64::MIN);
        out.push(b' ');
        push_uint(&mut out, u64::MAX);
        assert_eq!(out, b"-9223372036854775808 18446744073709551615");
    }
}
