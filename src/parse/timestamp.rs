//! Event times from text (RFC 3339, generously read) and from numbers.

use super::number;
use crate::plan::TimestampFormat;
use crate::time::{EventTime, NANOS_PER_MILLI};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Reads `2025-10-27T10:07:15.234Z`: any offset (`+01:00`, `+0100`, `+01`) or none, which is UTC; `T`, `t` or
/// a space; any number of digits of the second, of which nine count; a date alone is its midnight. A second
/// 60 is the first of the next minute, as Unix time has it. `None` also outside of 64-bit nanoseconds.
#[inline]
pub fn rfc3339(text: &str) -> Option<EventTime> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_first_chunk::<10>()?;
    let day = date_to_day(date)?;
    if rest.is_empty() {
        return nanos(day * 86_400, 0);
    }
    let (time, rest) = rest.split_first_chunk::<9>()?;
    if !matches!(time[0], b'T' | b't' | b' ') || time[3] != b':' || time[6] != b':' {
        return None;
    }
    let (hour, minute) = (two_digits(time[1], time[2])?, two_digits(time[4], time[5])?);
    let second = two_digits(time[7], time[8])?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, zone) = fraction(rest)?;
    let seconds = day * 86_400 + hour * 3_600 + minute * 60 + second - zone_offset(zone)?;
    nanos(seconds, fraction)
}

/// The minutes of the last times of two different ones, as they were written: most times that follow are of the same.
/// Two, because one time of a record may be of another minute than the next, and late ones stand between others.
#[derive(Debug, Default)]
pub struct Minute {
    last: Known,
    before: Known,
}

/// A minute.
#[derive(Clone, Copy, Debug)]
struct Known {
    text: [u8; 16],
    nanos: EventTime,
}

impl Default for Known {
    /// One that no text has.
    fn default() -> Self {
        Known { text: [u8::MAX; 16], nanos: 0 }
    }
}

impl Minute {
    /// Reads what [`rfc3339`] reads.
    #[inline]
    pub fn rfc3339(&mut self, text: &str) -> Option<EventTime> {
        if let Some((minute, [b':', digits @ .., b'Z'])) = text.as_bytes().split_first_chunk()
            && (*minute == self.last.text || self.turns_to(minute))
            && let [s0, s1, b'.', m0, m1, m2] = digits
            && let (Some(second), Some(m)) = (two_digits(*s0, *s1), two_digits(*m0, *m1))
            && let Some(m2) = two_digits(b'0', *m2).filter(|_| second < 60)
        {
            return self.last.nanos.checked_add((second * 1_000 + m * 10 + m2) * NANOS_PER_MILLI);
        }
        self.other(text)
    }

    fn turns_to(&mut self, minute: &[u8; 16]) -> bool {
        let known = *minute == self.before.text;
        if known {
            std::mem::swap(&mut self.last, &mut self.before);
        }
        known
    }

    #[inline(never)]
    fn other(&mut self, text: &str) -> Option<EventTime> {
        let nanos = rfc3339(text)?;
        if let Some((minute, [b':', s0, s1, b'.', .., b'Z'])) = text.as_bytes().split_first_chunk() {
            // As `text` is a time, its first sixteen bytes are one to the minute.
            let (fraction, _) = fraction(&text.as_bytes()[19..])?;
            let second = two_digits(*s0, *s1)? * NANOS_PER_SECOND;
            if let Some(start) = nanos.checked_sub(second + fraction).filter(|_| self.last.text != *minute) {
                let known = Known { text: *minute, nanos: start };
                self.before = std::mem::replace(&mut self.last, known);
            }
        }
        Some(nanos)
    }
}

/// Reads `2025-10-27` and nothing else, as days since the Unix epoch.
#[inline]
pub fn date(text: &str) -> Option<i32> {
    let date = <&[u8; 10]>::try_from(text.as_bytes()).ok()?;
    date_to_day(date).and_then(|day| i32::try_from(day).ok())
}

/// A number, or text that is a number, in the unit that the source declares; rounded down to nanoseconds.
#[inline]
pub(super) fn number(text: &str, format: TimestampFormat) -> Option<EventTime> {
    let (nanos, power) = match format {
        TimestampFormat::EpochSeconds => (1_000_000_000, 9),
        TimestampFormat::EpochMillis => (1_000_000, 6),
        TimestampFormat::EpochMicros => (1_000, 3),
        TimestampFormat::EpochNanos => (1, 0),
    };
    match number::integer(text) {
        Some(units) => units.checked_mul(nanos),
        None => number::scaled_integer(text, power).map(|(value, _)| value),
    }
}

/// Seconds and the nanoseconds behind them. In 128 bits, because near the low end the seconds alone are out
/// of range.
#[inline]
fn nanos(seconds: i64, fraction: i64) -> Option<EventTime> {
    match seconds.checked_mul(NANOS_PER_SECOND).and_then(|nanos| nanos.checked_add(fraction)) {
        Some(nanos) => Some(nanos),
        None => i64::try_from(i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(fraction)).ok(),
    }
}

/// Days since the Unix epoch of `YYYY-MM-DD`, in the Gregorian calendar.
#[inline]
fn date_to_day(date: &[u8; 10]) -> Option<i64> {
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = two_digits(date[0], date[1])? * 100 + two_digits(date[2], date[3])?;
    let (month, day) = (two_digits(date[5], date[6])?, two_digits(date[8], date[9])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
        return None;
    }
    // Years that begin in March have their leap day at the end; eras of 400 years are all alike.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[inline]
fn days_of_month(year: i64, month: i64) -> i64 {
    const DAYS: [i64; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    DAYS[month as usize] + i64::from(leap)
}

#[inline]
fn two_digits(high: u8, low: u8) -> Option<i64> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then(|| i64::from(high) * 10 + i64::from(low))
}

/// Nanoseconds of `.234`, and what follows.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = text else {
        return Some((0, text));
    };
    let mut nanos = 0;
    let mut unit = NANOS_PER_SECOND / 10;
    let mut length = 0;
    while let Some(digit @ b'0'..=b'9') = digits.get(length) {
        nanos += i64::from(digit - b'0') * unit;
        unit /= 10;
        length += 1;
    }
    (length > 0).then(|| (nanos, &digits[length..]))
}

/// Seconds that `Z`, `+01:00`, `+0100`, `+01` (perhaps behind a space) or nothing is ahead of UTC.
#[inline]
fn zone_offset(text: &[u8]) -> Option<i64> {
    let text = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b' ', rest @ ..] => rest,
        _ => text,
    };
    let (sign, hours, minutes) = match text {
        [b'Z' | b'z'] => return Some(0),
        [sign, a, b, b':', c, d] | [sign, a, b, c, d] => (sign, two_digits(*a, *b)?, two_digits(*c, *d)?),
        [sign, a, b] => (sign, two_digits(*a, *b)?, 0),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    match sign {
        b'+' => Some(hours * 3_600 + minutes * 60),
        b'-' => Some(-(hours * 3_600 + minutes * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, FixedOffset, NaiveDate, SecondsFormat};
    use rand::{Rng, SeedableRng};

    use super::*;

    fn chrono_nanos(text: &str) -> Option<i64> {
        DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
    }

    #[test]
    fn all_forms_of_the_same_instant() {
        let instant = Some(1_761_559_635_234_000_000);
        for text in [
            "2025-10-27T10:07:15.234Z",
            "2025-10-27t10:07:15.234z",
            "2025-10-27 10:07:15.234",
            "2025-10-27 10:07:15.234 Z",
            "2025-10-27T10:07:15.234000000999",
            "2025-10-27T10:07:15.234+0000",
            "2025-10-27T10:07:15.234-00:00",
            "2025-10-27T11:07:15.234+01",
            "2025-10-27T15:52:15.234 +05:45",
            "2025-10-26T23:07:15.234-1100",
        ] {
            assert_eq!(rfc3339(text), instant, "{text}");
        }
        assert_eq!(rfc3339("1970-01-01"), Some(0));
        assert_eq!(rfc3339("2016-12-31T23:59:60.5Z"), rfc3339("2017-01-01T00:00:00.5Z"));
        assert_eq!(rfc3339("2016-12-31T23:59:60.5Z"), chrono_nanos("2016-12-31T23:59:60.5Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "abc",
            "2025-10-27T",
            "2025-10-27T10:07",
            "2025-10-27T10:07:15.",
            "2025-10-27T10:07:15.Z",
            "2025-10-27T10:07:15ZZ",
            "2025-10-27T10:07:15+1",
            "2025-10-27T10:07:15+01:0",
            "2025-10-27T24:00:00Z",
            "2025-10-27T10:60:00Z",
            "2025-10-27T10:07:61Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-02-29",
            "2025-02-00",
            "1900-02-29",
            "2025-04-31",
            "25-10-27T10:07:15Z",
            "2025/10/27",
            "90/02/2032",
            "2025-10-27X10:07:15Z",
            "2025-10-27T10:07:15*01:00",
            "2025-10-27T10:07:15+24:00",
            "2025-10-2é",
            "2025-10-27T1é:07:15",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn both_ends_of_the_range() {
        assert_eq!(rfc3339("2262-04-11T23:47:16.854775807Z"), Some(i64::MAX));
        assert_eq!(rfc3339("2262-04-11T23:47:16.854775808Z"), None);
        assert_eq!(rfc3339("1677-09-21T00:12:43.145224192Z"), Some(i64::MIN));
        assert_eq!(rfc3339("1677-09-21T00:12:43.145224191Z"), None);
        assert_eq!(rfc3339("9999-12-31T23:59:59Z"), None);
        assert_eq!(rfc3339("0000-01-01T00:00:00Z"), None);
        assert_eq!(number("9223372036854.775807", TimestampFormat::EpochMillis), Some(i64::MAX));
        assert_eq!(number("9223372036855", TimestampFormat::EpochMillis), None);
        assert_eq!(number("-9223372036854775808", TimestampFormat::EpochNanos), Some(i64::MIN));
        assert_eq!(number("-9223372036854775.809", TimestampFormat::EpochMicros), None);
    }

    #[test]
    fn numbers_are_of_the_declared_unit() {
        for (text, format) in [
            ("1761559635.234", TimestampFormat::EpochSeconds),
            ("1761559635234", TimestampFormat::EpochMillis),
            ("1.761559635234e12", TimestampFormat::EpochMillis),
            ("1761559635234000", TimestampFormat::EpochMicros),
            ("1761559635234000000", TimestampFormat::EpochNanos),
        ] {
            assert_eq!(number(text, format), Some(1_761_559_635_234_000_000), "{text}");
        }
        assert_eq!(number("-0.5", TimestampFormat::EpochNanos), Some(-1));
        assert_eq!(number("abc", TimestampFormat::EpochMillis), None);
    }

    #[test]
    fn every_day_agrees_with_chrono() {
        let mut date = NaiveDate::from_ymd_opt(1677, 9, 22).expect("a date");
        let last = NaiveDate::from_ymd_opt(2262, 4, 11).expect("a date");
        while date <= last {
            let expected = date.and_hms_opt(0, 0, 0).and_then(|time| time.and_utc().timestamp_nanos_opt());
            assert_eq!(rfc3339(&date.to_string()), expected, "{date}");
            date = date.succ_opt().expect("a date");
        }
    }

    #[test]
    fn random_instants_agree_with_chrono() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(3339);
        let forms = [SecondsFormat::Secs, SecondsFormat::Millis, SecondsFormat::Micros, SecondsFormat::Nanos];
        for _ in 0..50_000 {
            let offset = FixedOffset::east_opt(random.random_range(-1439..1440) * 60).expect("an offset");
            let nanos: i64 = random.random();
            let time = DateTime::from_timestamp_nanos(nanos).with_timezone(&offset);
            let text = time.to_rfc3339_opts(forms[random.random_range(0..4)], random.random());
            assert_eq!(rfc3339(&text), chrono_nanos(&text), "{text}");
            assert_eq!(rfc3339(&time.to_rfc3339_opts(SecondsFormat::Nanos, false)), Some(nanos));
        }
    }

    #[test]
    fn the_minute_read_last_makes_no_difference() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(60);
        let mut minute = Minute::default();
        for nothing in ["\0", " ", "0"] {
            assert_eq!(minute.rfc3339(&format!("{}:15.234Z", nothing.repeat(16))), None, "none is known yet");
        }
        let ends = ["2262-04-11T23:47:16.854Z", "2262-04-11T23:47:16.855Z", "1677-09-21T00:12:43.145Z"];
        let mut base = String::new();
        for step in 0..100_000 {
            if step % 50 == 0 {
                let nanos = random.random_range(0..i64::MAX);
                base = DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Millis, true);
                if random.random_ratio(1, 10) {
                    base = ends[random.random_range(0..ends.len())].to_owned();
                }
            }
            let mut text = base.clone().into_bytes();
            if step % 7 == 0 {
                // A minute of another hour, again and again.
                text[12] = b'0' + (step % 3) as u8;
            }
            for _ in 0..random.random_range(0..4) {
                let at = random.random_range(15..text.len());
                text[at] = if random.random_ratio(9, 10) {
                    b'0' + random.random_range(0..10)
                } else {
                    b":.Z+ "[random.random_range(0..5)]
                };
            }
            let text = String::from_utf8(text).expect("ASCII");
            assert_eq!(minute.rfc3339(&text), rfc3339(&text), "{text}");
        }
    }

    #[test]
    fn what_chrono_accepts_is_accepted() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(1970);
        for _ in 0..50_000 {
            let mut text = b"2025-10-27T10:07:15.234+01:00".to_vec();
            for _ in 0..random.random_range(1..3) {
                let at = random.random_range(0..text.len());
                text[at] = b"0123456789:+-. Zz"[random.random_range(0..17)];
            }
            let text = String::from_utf8(text).expect("ASCII");
            if let (Some(expected), found) = (chrono_nanos(&text), rfc3339(&text)) {
                assert_eq!(found, Some(expected), "{text}");
            }
        }
    }
}
