//! Numbers from their text: exact where they are integers, never wrapped, never rounded twice.

/// The integer that a decimal number is: `7`, `7.0`, `70e-1`. `None` for a fraction and beyond 64 bits.
#[inline]
pub(super) fn integer(text: &str) -> Option<i64> {
    short_integer(text).or_else(|| match scaled_integer(text, 0) {
        Some((value, true)) => Some(value),
        _ => None,
    })
}

/// An integer of at most 18 digits, as nearly all are.
#[inline(always)]
fn short_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// A decimal number times ten to the power of `shift`, rounded down, and whether that is exact. `None` if it
/// is no number, or beyond 64 bits.
pub(super) fn scaled_integer(text: &str, shift: i64) -> Option<(i64, bool)> {
    let decimal = Decimal::parse(text)?;
    if decimal.digits == 0 {
        return Some((0, true));
    }
    let power = decimal.power.saturating_add(shift);
    let scale = u32::try_from(power.unsigned_abs()).ok().and_then(|power| 10u128.checked_pow(power));
    let (magnitude, exact) = match scale {
        Some(scale) if power >= 0 => (decimal.digits.checked_mul(scale)?, true),
        Some(scale) => (decimal.digits / scale, decimal.digits % scale == 0),
        None if power >= 0 => return None,
        None => (0, false),
    };
    let exact = exact && !decimal.cut;
    let magnitude = i128::try_from(magnitude).ok()?;
    let value = match (decimal.negative, exact) {
        (false, _) => magnitude,
        (true, true) => -magnitude,
        (true, false) => -magnitude - 1,
    };
    Some((i64::try_from(value).ok()?, exact))
}

/// The nearest DOUBLE. `None` if the text is no number, or beyond the range of DOUBLE; `-0.0` stays that.
#[inline]
pub(super) fn double(text: &str) -> Option<f64> {
    short_double(text).or_else(|| {
        // Rust also reads `inf` and `nan`.
        let numeric = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
        text.parse().ok().filter(|value: &f64| numeric && value.is_finite())
    })
}

/// A number whose digits and power of ten are both exact as DOUBLE: one division rounds it correctly.
#[inline(always)]
fn short_double(text: &str) -> Option<f64> {
    const POWERS: [f64; 20] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19,
    ];
    let (negative, rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // A point and 18 digits cannot overflow 64 bits.
    if rest.is_empty() || rest.len() > 19 {
        return None;
    }
    let mut mantissa = 0u64;
    let mut point = None;
    for (at, byte) in rest.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa * 10 + u64::from(digit);
        } else if *byte == b'.' && point.is_none() && at > 0 {
            point = Some(at);
        } else {
            return None;
        }
    }
    if mantissa > 1 << 53 {
        return None;
    }
    let fraction = point.map_or(0, |at| rest.len() - 1 - at);
    let value = mantissa as f64 / POWERS.get(fraction)?;
    Some(if negative { -value } else { value })
}

/// `digits * 10^power`, with more digits than 64 bits can hold.
struct Decimal {
    negative: bool,
    digits: u128,
    power: i64,
    /// Whether something other than zeros was left out behind the digits.
    cut: bool,
}

impl Decimal {
    /// As many digits as 128 bits always hold.
    const DIGITS_MAX: u32 = 38;

    /// Digits with at most one point, at least one digit, perhaps a sign and an exponent.
    fn parse(text: &str) -> Option<Decimal> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (negative, mantissa) = sign(mantissa);
        let mut decimal = Decimal { negative, digits: 0, power: exponent, cut: false };
        let (mut any, mut point, mut taken) = (false, false, 0);
        // Zeros behind the last digit taken; they are taken only when another digit follows.
        let mut zeros = 0u32;
        for byte in mantissa.bytes() {
            match byte {
                b'.' if !point => {
                    point = true;
                    continue;
                }
                b'0' => zeros += u32::from(taken > 0),
                b'1'..=b'9' if taken + zeros < Self::DIGITS_MAX => {
                    decimal.digits = decimal.digits * 10u128.pow(zeros + 1) + u128::from(byte - b'0');
                    taken += zeros + 1;
                    zeros = 0;
                }
                b'1'..=b'9' => {
                    decimal.cut = true;
                    zeros += 1;
                }
                _ => return None,
            }
            any = true;
            decimal.power = decimal.power.saturating_sub(i64::from(point));
        }
        decimal.power = decimal.power.saturating_add(i64::from(zeros));
        any.then_some(decimal)
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// An exponent, bounded far beyond all that matters.
fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for byte in digits.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = (value * 10 + i64::from(byte - b'0')).min(1 << 40);
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn integers_are_taken_however_they_are_written() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e99999999999999999999", 0),
            ("7", 7),
            ("7.0", 7),
            ("7.", 7),
            ("+7", 7),
            ("007", 7),
            ("70e-1", 7),
            ("0.7E+1", 7),
            ("-1.50e2", -150),
            ("9223372036854775807", i64::MAX),
            ("9223372036854775807.000", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("-9.223372036854775808e18", i64::MIN),
            ("1000000000000000000000000e-20", 10_000),
        ] {
            assert_eq!(integer(text), Some(value), "{text}");
        }
        let long = format!("7.{}", "0".repeat(500));
        assert_eq!(integer(&long), Some(7));
        assert_eq!(integer(&format!("{long}1")), None);
    }

    #[test]
    fn what_is_no_integer_of_64_bits_is_refused() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "e1",
            "7.5",
            "1e-1",
            "NaN",
            "inf",
            "abc",
            "7a",
            "7e",
            "7e+",
            "7e1.0",
            "1.2.3",
            " 7",
            "--7",
            "0x7",
            "9223372036854775808",
            "-9223372036854775809",
            "1e19",
            "1e400",
            "1e99999999999999999999",
            "18446744073709551616",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn scaling_rounds_down() {
        assert_eq!(scaled_integer("1761559635.234", 9), Some((1_761_559_635_234_000_000, true)));
        assert_eq!(scaled_integer("1.0000000019", 9), Some((1_000_000_001, false)));
        assert_eq!(scaled_integer("-1.0000000019", 9), Some((-1_000_000_002, false)));
        assert_eq!(scaled_integer("-1e-400", 9), Some((-1, false)));
        assert_eq!(scaled_integer("9223372036.854775808", 9), None);
    }

    #[test]
    fn doubles_are_the_nearest() {
        for text in [
            "0",
            "-0.0",
            "101.5",
            "22.2419490814209",
            "22.242137908935547",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.0",
            "123456789012345678901234567890",
            "1e308",
            "5e-324",
            "1e-400",
            "0.1",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "0.0000000000000001",
        ] {
            let expected: f64 = text.parse().expect("a number");
            assert_eq!(double(text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
        for text in ["", "-", ".", "NaN", "nan", "inf", "-inf", "infinity", "1e400", "-1e400", "1_0", "0x1"] {
            assert_eq!(double(text), None, "{text}");
        }
    }

    #[test]
    fn random_doubles_agree_with_the_standard_library() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(7);
        for _ in 0..20_000 {
            let digits = random.random_range(0..=i64::MAX) >> random.random_range(0..63);
            let mut text = digits.to_string();
            let point = random.random_range(0..=text.len());
            if point > 0 {
                text.insert(point, '.');
            }
            let expected: f64 = text.parse().expect("a number");
            assert_eq!(double(&text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
    }
}
