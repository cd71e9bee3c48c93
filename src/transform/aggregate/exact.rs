//! Sums of doubles that do not depend on the order of their terms.
//!
//! The sum is kept exactly and rounded once, when it is read. As long as it fits, it is two doubles that do
//! not overlap; then a fixed-point number wide enough for every double and any number of them. Terms can be
//! taken back, infinities and NaN included: those are counted.

use num_bigint::BigInt;

/// An exact sum.
#[derive(Clone, Debug, Default)]
pub struct Exact {
    /// The sum rounded to a double, and what is missing to the exact sum.
    high: f64,
    low: f64,
    /// Instead of both, where two doubles do not hold the sum or a term was not finite.
    wide: Option<Box<Wide>>,
}

/// The least double is two to this power.
pub const LEAST_EXPONENT: i32 = -1074;
/// Bits of a limb of [`Wide`].
const LIMB_BITS: usize = 32;
/// Enough for 2^126 times the greatest double: terms times diffs.
const LIMBS: usize = 70;
/// How many terms a limb takes before its carry must move on.
const TERMS_MAX: u32 = 1 << 30;
const MANTISSA_BITS: usize = 52;
/// What a [`Wide`] is saved with in front of its limbs.
const SAVED_HEAD_BYTES: usize = 32;
/// A saved limb.
const SAVED_LIMB_BYTES: usize = 4;

/// A fixed-point number in multiples of the least double, least limb first.
#[derive(Clone, Debug)]
struct Wide {
    limbs: [i64; LIMBS],
    /// Terms since the carries last moved.
    terms: u32,
    positive_infinities: i64,
    negative_infinities: i64,
    nans: i64,
}

impl Exact {
    /// Adds `value` `diff` times.
    pub fn add(&mut self, value: f64, diff: i64) {
        if !value.is_finite() {
            self.widen().count_special(value, diff);
            return;
        }
        let value = if diff < 0 { -value } else { value };
        let mut times = diff.unsigned_abs();
        while times != 0 {
            let shift = times.trailing_zeros();
            self.add_shifted(value, shift);
            times &= times - 1;
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Exact) {
        match &other.wide {
            None => {
                self.add_shifted(other.high, 0);
                self.add_shifted(other.low, 0);
            }
            Some(wide) => self.widen().merge(wide),
        }
    }

    /// The sum, rounded to the nearest double, ties to even.
    pub fn value(&self) -> f64 {
        self.wide.as_ref().map_or(self.high, |wide| wide.value())
    }

    /// Bytes that it has outside of itself.
    pub fn bytes(&self) -> usize {
        self.wide.as_deref().map_or(0, size_of_val)
    }

    /// Whether there are infinities or NaN in it.
    pub fn has_specials(&self) -> bool {
        let specials =
            |wide: &Wide| [wide.positive_infinities, wide.negative_infinities, wide.nans] != [0; 3];
        self.wide.as_deref().is_some_and(specials)
    }

    /// Doubles whose sum it is, as long as it is not beyond the greatest double.
    pub fn parts(&self) -> Vec<f64> {
        self.wide.as_ref().map_or_else(|| vec![self.high, self.low], |wide| wide.parts())
    }

    /// The finite terms in units of the least double.
    pub fn integer(&self) -> BigInt {
        match &self.wide {
            None => integer(self.high) + integer(self.low),
            Some(wide) => wide.limbs.iter().rev().fold(BigInt::ZERO, |sum, limb| (sum << LIMB_BITS) + limb),
        }
    }

    /// The exact sum as bytes, for a snapshot: equal sums of the same width have the same.
    pub fn save(&self) -> Vec<u8> {
        match &self.wide {
            Some(wide) => wide.save(),
            None => [self.high, self.low].iter().flat_map(|part| part.to_le_bytes()).collect(),
        }
    }

    /// What [`save`](Self::save) gave; `None` if it gave no such bytes.
    pub fn load(bytes: &[u8]) -> Option<Exact> {
        if bytes.len() != 16 {
            let wide = Wide::load(bytes)?;
            return Some(Exact { wide: Some(Box::new(wide)), ..Exact::default() });
        }
        let mut words = bytes.chunks_exact(8).map(|word| word.try_into().unwrap_or_default());
        let (high, low) = (words.next()?, words.next()?);
        Some(Exact { high: f64::from_le_bytes(high), low: f64::from_le_bytes(low), wide: None })
    }

    /// Adds `value` times 2^shift.
    fn add_shifted(&mut self, value: f64, shift: u32) {
        if self.wide.is_none() {
            let scaled = if shift == 0 { value } else { value * 2f64.powi(shift as i32) };
            if self.add_two_parts(scaled) {
                return;
            }
        }
        self.widen().add(value, shift as usize);
    }

    /// Adds a term if two doubles can hold the sum, else changes nothing.
    fn add_two_parts(&mut self, term: f64) -> bool {
        let (sum, rest) = two_sum(self.low, term);
        let (high, carried) = two_sum(self.high, sum);
        let (low, lost) = if rest == 0.0 { (carried, 0.0) } else { two_sum(carried, rest) };
        let (high, low) = two_sum(high, low);
        // An overflow anywhere leaves an infinity or a NaN in one of the three.
        if lost != 0.0 || !high.is_finite() || !low.is_finite() {
            return false;
        }
        (self.high, self.low) = (high, low);
        true
    }

    fn widen(&mut self) -> &mut Wide {
        let (high, low) = (self.high, self.low);
        self.wide.get_or_insert_with(|| {
            let mut wide = Wide::zero();
            wide.add(high, 0);
            wide.add(low, 0);
            Box::new(wide)
        })
    }
}

/// The rounded sum and its error; together they are the exact sum.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

impl Wide {
    fn zero() -> Self {
        Wide { limbs: [0; LIMBS], terms: 0, positive_infinities: 0, negative_infinities: 0, nans: 0 }
    }

    /// The counts of what is not finite, the place of the first limb that is not 0, from 1 and with the sign of the
    /// sum, and the limbs from there to the last one that is not: of the width of a double a few out of all.
    fn save(&self) -> Vec<u8> {
        let (sign, limbs) = self.magnitude();
        let is_set = |limb: &i64| *limb != 0;
        let first = limbs.iter().position(is_set).unwrap_or(LIMBS);
        let end = limbs.iter().rposition(is_set).map_or(first, |last| last + 1);
        let place = (first + 1) as i64 * if sign < 0.0 { -1 } else { 1 };
        let head = [self.positive_infinities, self.negative_infinities, self.nans, place];
        let limbs = limbs[first..end].iter().flat_map(|limb| (*limb as u32).to_le_bytes());
        head.into_iter().flat_map(i64::to_le_bytes).chain(limbs).collect()
    }

    /// What [`save`](Self::save) gave; `None` if it gave no such bytes.
    fn load(bytes: &[u8]) -> Option<Wide> {
        let (head, saved) = bytes.split_at_checked(SAVED_HEAD_BYTES)?;
        let mut head =
            head.chunks_exact(8).map(|word| i64::from_le_bytes(word.try_into().unwrap_or_default()));
        let mut wide = Wide::zero();
        wide.positive_infinities = head.next()?;
        wide.negative_infinities = head.next()?;
        wide.nans = head.next()?;
        let place = head.next()?;
        let first = usize::try_from(place.unsigned_abs()).ok()?.checked_sub(1)?;
        let saved = saved.chunks(SAVED_LIMB_BYTES);
        let limbs = wide.limbs.get_mut(first..first.checked_add(saved.len())?)?;
        for (limb, saved) in limbs.iter_mut().zip(saved) {
            *limb = i64::from(u32::from_le_bytes(saved.try_into().ok()?)) * place.signum();
        }
        wide.terms = 1;
        Some(wide)
    }

    fn count_special(&mut self, value: f64, diff: i64) {
        if value.is_nan() {
            self.nans += diff;
        } else if value > 0.0 {
            self.positive_infinities += diff;
        } else {
            self.negative_infinities += diff;
        }
    }

    /// Adds a finite value times 2^shift.
    fn add(&mut self, value: f64, shift: usize) {
        let bits = value.to_bits();
        let exponent = ((bits >> MANTISSA_BITS) & 0x7ff) as usize;
        let fraction = bits & ((1 << MANTISSA_BITS) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | (1 << MANTISSA_BITS) };
        let position = exponent.max(1) - 1 + shift;
        let spread = u128::from(mantissa) << (position % LIMB_BITS);
        for (i, limb) in self.limbs[position / LIMB_BITS..][..3].iter_mut().enumerate() {
            let part = i64::from((spread >> (i * LIMB_BITS)) as u32);
            *limb += if value < 0.0 { -part } else { part };
        }
        self.terms += 1;
        if self.terms == TERMS_MAX {
            self.terms = 0;
            carry(&mut self.limbs);
        }
    }

    fn merge(&mut self, other: &Wide) {
        let mut limbs = other.limbs;
        carry(&mut limbs);
        carry(&mut self.limbs);
        self.terms = 1;
        for (limb, more) in self.limbs.iter_mut().zip(limbs) {
            *limb += more;
        }
        self.positive_infinities += other.positive_infinities;
        self.negative_infinities += other.negative_infinities;
        self.nans += other.nans;
    }

    fn value(&self) -> f64 {
        match (self.positive_infinities > 0, self.negative_infinities > 0) {
            _ if self.nans > 0 => f64::NAN,
            (true, true) => f64::NAN,
            (true, false) => f64::INFINITY,
            (false, true) => f64::NEG_INFINITY,
            (false, false) => self.finite_value(),
        }
    }

    fn finite_value(&self) -> f64 {
        let (sign, limbs) = self.magnitude();
        sign * round(&limbs)
    }

    /// Its sign, and its absolute value with all carries moved.
    fn magnitude(&self) -> (f64, [i64; LIMBS]) {
        let mut limbs = self.limbs;
        carry(&mut limbs);
        let negative = limbs[LIMBS - 1] < 0;
        if negative {
            limbs.iter_mut().for_each(|limb| *limb = -*limb);
            carry(&mut limbs);
        }
        (if negative { -1.0 } else { 1.0 }, limbs)
    }

    fn parts(&self) -> Vec<f64> {
        let (sign, limbs) = self.magnitude();
        let parts = limbs.iter().enumerate().filter(|(_, limb)| **limb != 0);
        parts
            .map(|(i, limb)| sign * *limb as f64 * power_of_two((i * LIMB_BITS) as i32 + LEAST_EXPONENT))
            .collect()
    }
}

/// Two to a power from -1074 to 1023; infinity above.
pub fn power_of_two(exponent: i32) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022.. => f64::from_bits(((exponent + 1023) as u64) << MANTISSA_BITS),
        _ => f64::from_bits(1 << (exponent - LEAST_EXPONENT)),
    }
}

/// A finite double in units of the least one.
pub fn integer(value: f64) -> BigInt {
    let bits = value.to_bits();
    let exponent = (bits >> MANTISSA_BITS) & 0x7ff;
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << MANTISSA_BITS };
    let size = BigInt::from(mantissa) << (exponent.max(1) - 1);
    if value < 0.0 { -size } else { size }
}

/// Moves what is above 32 bits to the next limb; the last one keeps the sign.
fn carry(limbs: &mut [i64; LIMBS]) {
    for i in 0..LIMBS - 1 {
        limbs[i + 1] += limbs[i] >> LIMB_BITS;
        limbs[i] &= i64::from(u32::MAX);
    }
}

/// The double nearest to a number that is not negative and whose carries have moved.
fn round(limbs: &[i64; LIMBS]) -> f64 {
    let Some(last) = limbs.iter().rposition(|limb| *limb != 0) else { return 0.0 };
    let top = last * LIMB_BITS + limbs[last].ilog2() as usize;
    // The bits of a number below 2^53 times the least double are those of the double itself.
    let Some(lowest) = top.checked_sub(MANTISSA_BITS).filter(|lowest| *lowest > 0) else {
        return f64::from_bits(window(limbs, 0));
    };
    let mantissa = window(limbs, lowest) & ((1 << (MANTISSA_BITS + 1)) - 1);
    let half = window(limbs, lowest - 1) & 1 == 1;
    let rest = (lowest - 1) / LIMB_BITS;
    let below = limbs[rest] & ((1 << ((lowest - 1) % LIMB_BITS)) - 1) != 0
        || limbs[..rest].iter().any(|limb| *limb != 0);
    let up = half && (below || mantissa & 1 == 1);
    // The exponent is that of the lowest bit plus one; the leading bit adds that one. A carry out of the
    // mantissa is a carry into the exponent.
    let bits = ((lowest as u64) << MANTISSA_BITS) + mantissa + u64::from(up);
    if bits >= f64::INFINITY.to_bits() { f64::INFINITY } else { f64::from_bits(bits) }
}

/// 64 bits from bit `position` on.
fn window(limbs: &[i64; LIMBS], position: usize) -> u64 {
    let at = |i: usize| limbs.get(i).map_or(0, |limb| u128::from(*limb as u64));
    let first = position / LIMB_BITS;
    let joined = at(first) | (at(first + 1) << LIMB_BITS) | (at(first + 2) << (2 * LIMB_BITS));
    (joined >> (position % LIMB_BITS)) as u64
}

#[cfg(test)]
mod tests;
