//! Records that look like one before them.
//!
//! A device writes the same fields in the same order with the same white space. So what stands between the values
//! of a record - names, colons, commas, brackets - is mostly, byte by byte, what stood there in an earlier one: its
//! outline. Where it is, the names need not be looked up, nor the grammar be checked again: whether a text is JSON
//! depends on what is between its values and on each value being one, and both were seen.
//!
//! The tokens found are those that reading from the beginning would give, so which outlines are known never shows
//! in a result.

use crate::json::{Literal, Scanner, Token};

/// Outlines that are known at a time.
const OUTLINES_MAX: usize = 4;
/// Values of a record that has one.
const STEPS_MAX: usize = 512;
/// What a new outline costs; each record that follows a known one earns 1. Records without any order so are hardly
/// slower than without outlines.
const PRICE: u32 = 16;
const CREDIT_MAX: u32 = 4 * PRICE;
/// Records that look like none are counted, and after so many one more outline is free.
const STRANGERS_MAX: u32 = 256;

/// The outlines of records read before.
#[derive(Debug)]
pub(super) struct Outlines {
    known: Vec<Outline>,
    /// Which one the last record had.
    last: usize,
    /// Which one the next new one takes the place of.
    oldest: usize,
    credit: u32,
    strangers: u32,
    /// Whether slots hold tokens that are none of the last outline's.
    mixed: bool,
}

/// What stands between the values of a record, and where the values belong.
#[derive(Debug, Default)]
pub(super) struct Outline {
    steps: Vec<Step>,
    /// Behind the last value.
    end: Literal,
    /// Where the last value ended, while it is learnt.
    at: usize,
}

#[derive(Debug)]
struct Step {
    /// From the end of the value before to the beginning of this one.
    before: Literal,
    place: Place,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// `None`: nobody wants it.
    pub slot: Option<usize>,
    /// Number of containers that are open.
    pub depth: u32,
    /// An object would have been looked into, and is no value.
    pub looked_into: bool,
}

impl Default for Outlines {
    fn default() -> Self {
        Outlines { known: Vec::new(), last: 0, oldest: 0, credit: CREDIT_MAX, strangers: 0, mixed: true }
    }
}

impl Outlines {
    /// Fills the slots of a record that has a known outline. If it has none, what is in the slots is worthless.
    /// The slots are the same at every call, and only [`keep`](Self::keep) is called in between.
    #[inline]
    pub(super) fn follow(&mut self, text: &str, slots: &mut [Token]) -> bool {
        if self.mixed {
            slots.fill(Token::MISSING);
        }
        self.mixed = !self.known.get(self.last).is_some_and(|outline| outline.follow(text, slots));
        let followed = !self.mixed || self.follow_other(text, slots);
        self.credit = CREDIT_MAX.min(self.credit + u32::from(followed));
        followed
    }

    fn follow_other(&mut self, text: &str, slots: &mut [Token]) -> bool {
        for (index, outline) in self.known.iter().enumerate() {
            if index != self.last && outline.may_fit(text) {
                slots.fill(Token::MISSING);
                if outline.follow(text, slots) {
                    (self.last, self.mixed) = (index, false);
                    return true;
                }
            }
        }
        false
    }

    /// An outline to be filled in, if a new one is wanted.
    pub(super) fn begin(&mut self) -> Option<Outline> {
        self.strangers += 1;
        if self.strangers >= STRANGERS_MAX {
            self.strangers = 0;
            self.credit = CREDIT_MAX.min(self.credit + PRICE);
        }
        let credit = self.credit.checked_sub(PRICE)?;
        self.credit = credit;
        Some(Outline::default())
    }

    /// Keeps the outline of a record that is good, with the slots as it has filled them.
    pub(super) fn keep(&mut self, mut outline: Outline, text: &str, slots: &[Token]) {
        let wanted = outline.steps.iter().filter(|step| step.place.slot.is_some()).count();
        let found = slots.iter().filter(|token| **token != Token::MISSING).count();
        if outline.steps.len() > STEPS_MAX || wanted != found {
            return;
        }
        outline.end = Literal::new(&text[outline.at..]);
        self.mixed = false;
        if self.known.len() < OUTLINES_MAX {
            self.last = self.known.len();
            self.known.push(outline);
        } else {
            self.last = self.oldest;
            self.known[self.oldest] = outline;
            self.oldest = (self.oldest + 1) % OUTLINES_MAX;
        }
    }
}

impl Outline {
    /// Adds the next value of a record.
    pub(super) fn push(&mut self, text: &str, value: Token, place: Place) {
        let span = value.span();
        if self.steps.len() <= STEPS_MAX {
            self.steps.push(Step { before: Literal::new(&text[self.at..span.start]), place });
        }
        self.at = span.end;
    }

    /// Whether a record begins as those of this outline.
    #[inline]
    fn may_fit(&self, text: &str) -> bool {
        self.steps.first().is_none_or(|step| step.before.begins(text.as_bytes()))
    }

    #[inline]
    fn follow(&self, text: &str, slots: &mut [Token]) -> bool {
        let mut scanner = Scanner::new(text);
        for Step { before, place } in &self.steps {
            if !scanner.take(before) || (place.looked_into && scanner.at_object()) {
                return false;
            }
            let Some(value) = scanner.found(place.depth) else { return false };
            if let Some(slot) = place.slot {
                slots[slot] = value;
            }
        }
        scanner.ends_with(&self.end)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use crate::json::{Malformed, Token};
    use crate::parse::fields::Fields;

    const RECORDS: usize = 1_000;
    const PATHS: [&[&str]; 8] = [
        &["did"],
        &["value"],
        &["pos"],
        &["pos", "lat"],
        &["pos", "deep", "x"],
        &["box", "a"],
        &["box", "b"],
        &["time"],
    ];

    /// Members of records of the same devices; some of them come twice, or are no object now and then.
    const MEMBERS: [&str; 16] = [
        r#""did": V"#,
        r#""value":V"#,
        r#""val\u0075e":V"#,
        r#""other": V"#,
        r#""other" : [V, {"did": V}]"#,
        r#""pos":V"#,
        r#""pos": {"lat": V, "deep": {"y": V, "x": V}}"#,
        r#""box": {"b":V}"#,
        r#""box": {"a":V,"b":V}"#,
        r#""box": {"a": V }"#,
        r#""box": {}"#,
        r#""box": V"#,
        r#""box":  V"#,
        r#""time": "2025-10-27T10:07:15.234Z""#,
        r#""time": V"#,
        r#""a name of more than thirty-two bytes": V"#,
    ];

    const VALUES: [&str; 18] = [
        "1",
        "-0",
        "2.5e3",
        "01",
        "1.",
        "true",
        "nul",
        "null",
        "\"\"",
        "\"text\"",
        r#""a\"b""#,
        r#""\ud83d""#,
        "[1, [2]]",
        "{}",
        r#"{"lat": 7, "a":8}"#,
        r#"{"did": 9"#,
        " 3",
        "4 ",
    ];

    fn fields() -> (Fields, Vec<Token>) {
        let mut fields = Fields::new();
        for path in PATHS {
            fields.slot(&path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        }
        let slots = vec![Token::MISSING; fields.len()];
        (fields, slots)
    }

    fn read(fields: &mut Fields, slots: &mut [Token], text: &str) -> Result<Vec<Token>, Malformed> {
        fields.read(text, slots, &mut String::new()).map(|()| slots.to_vec())
    }

    /// A record of one of a few shapes, with other values.
    fn record(random: &mut Pcg64Mcg, shape: &str) -> String {
        let mut text = String::new();
        for (at, part) in shape.split('V').enumerate() {
            if at > 0 {
                let good = random.random_ratio(49, 50);
                let value = random.random_range(0..if good { 9 } else { VALUES.len() });
                text.push_str(if good && matches!(value, 3 | 4 | 6) { "5" } else { VALUES[value] });
            }
            text.push_str(part);
        }
        if random.random_ratio(1, 20) {
            let at = random.random_range(0..=text.len());
            match random.random_range(0..3) {
                0 => text.truncate(at),
                1 => text.insert(at, [' ', ',', '}', '"', 'x'][random.random_range(0..5)]),
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        text
    }

    #[test]
    fn a_few_outlines_are_known_and_new_ones_are_paid_for() {
        let (mut fields, mut slots) = fields();
        let mut strangers = |texts: &mut dyn Iterator<Item = String>| {
            let before = fields.outlines().strangers;
            texts.for_each(|text| drop(read(&mut fields, &mut slots, &text).expect("an object")));
            fields.outlines().strangers - before
        };
        let shape =
            |shape: usize, value: usize| format!("{{{}\"did\":{value}}}", "\"x\":null,".repeat(shape));
        assert_eq!(strangers(&mut (0..100).map(|value| shape(value % 4, value))), 4, "four are known");
        assert_eq!(strangers(&mut (0..3).map(|value| shape(4, value))), 1, "a fifth takes a place");
        assert_eq!(strangers(&mut (10..70).map(|value| shape(value, value))), 60);
        assert!(fields.outlines().credit < super::PRICE, "they were paid for");
        assert_eq!(fields.outlines().known.len(), super::OUTLINES_MAX);
    }

    #[test]
    fn what_was_read_before_makes_no_difference() {
        let mut followed = 0;
        for seed in 0..60 {
            let random = &mut Pcg64Mcg::seed_from_u64(seed);
            let shapes: Vec<String> = (0..random.random_range(1..8))
                .map(|_| {
                    let count = random.random_range(0..7);
                    let members: Vec<&str> =
                        (0..count).map(|_| MEMBERS[random.random_range(0..MEMBERS.len())]).collect();
                    let space = ["", " ", "\n "][random.random_range(0..3)];
                    format!(
                        "{space}{{{space}{}{space}}}{space}",
                        members.join([",", ", "][seed as usize % 2])
                    )
                })
                .collect();
            let (mut known, mut slots) = fields();
            let mut shape = 0;
            for step in 0..RECORDS {
                if random.random_ratio(1, 3) {
                    shape = random.random_range(0..shapes.len());
                }
                let text = record(random, &shapes[shape]);
                let (mut fresh, mut fresh_slots) = fields();
                let expected = read(&mut fresh, &mut fresh_slots, &text);
                let strangers = known.outlines().strangers;
                let found = read(&mut known, &mut slots, &text);
                followed += usize::from(known.outlines().strangers == strangers);
                assert_eq!(found, expected, "seed {seed}, step {step}: {text}");
            }
        }
        assert!(followed > 60 * RECORDS / 4, "no good test: {followed} records were followed");
    }
}
