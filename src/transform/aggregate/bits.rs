//! bit_and, bit_or and bit_xor of BIGINT.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};

use crate::error::{Error, Result};
use crate::transform::aggregate::accumulate::{load_counts, saved_counts};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;

const BITS: usize = 64;
const NOTHING: [i64; BITS] = [0; BITS];

/// How bits are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    And,
    Or,
    Xor,
}

/// The joined values of each group; NULLs are not selected. XOR takes a value back by joining it again, AND
/// and OR need to know how often each bit was set: over append-only input they need not.
pub struct Bits {
    join: Join,
    append_only: bool,
    counts: Vec<i64>,
    joined: Vec<i64>,
    /// How often each bit is set; only where values are taken back from AND and OR.
    ones: Vec<Option<Box<[i64; BITS]>>>,
}

impl Bits {
    /// Without values.
    pub fn new(join: Join, append_only: bool) -> Self {
        Bits { join, append_only, counts: Vec::new(), joined: Vec::new(), ones: Vec::new() }
    }

    fn counts_bits(&self) -> bool {
        self.join != Join::Xor && !self.append_only
    }

    fn ones(&self, group: Group) -> &[i64; BITS] {
        self.ones[group as usize].as_deref().unwrap_or(&NOTHING)
    }

    fn value(&self, group: Group) -> Option<i64> {
        let count = self.counts[group as usize];
        if count == 0 {
            return None;
        }
        if !self.counts_bits() {
            return Some(self.joined[group as usize]);
        }
        let enough = if self.join == Join::And { count } else { 1 };
        let bits = self.ones(group).iter().enumerate().filter(|(_, ones)| **ones >= enough);
        Some(bits.fold(0, |value, (bit, _)| value | 1 << bit))
    }
}

impl State for Bits {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.counts, slots, || 0);
        fit(&mut self.joined, slots, || 0);
        fit(&mut self.ones, slots, || None);
    }

    fn bytes(&self) -> usize {
        vector(&self.counts) + vector(&self.joined) + vector(&self.ones)
    }

    fn bytes_of(&self, group: Group) -> usize {
        self.ones[group as usize].as_deref().map_or(0, size_of_val)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = arguments.value().as_primitive::<Int64Type>().values();
        let (join, counts_bits) = (self.join, self.counts_bits());
        arguments.each(rows.groups, |row, group| {
            let (value, diff) = (values[row], rows.diff(row));
            let joined = &mut self.joined[group];
            if counts_bits {
                let ones = self.ones[group].get_or_insert_with(|| Box::new(NOTHING));
                for (bit, ones) in ones.iter_mut().enumerate() {
                    *ones += diff * (value >> bit & 1);
                }
            } else if join == Join::Xor {
                *joined ^= if diff % 2 == 0 { 0 } else { value };
            } else if self.counts[group] == 0 {
                *joined = value;
            } else {
                *joined = if join == Join::And { *joined & value } else { *joined | value };
            }
            self.counts[group] += diff;
        });
    }

    fn clear(&mut self, group: Group) {
        self.counts[group as usize] = 0;
        self.joined[group as usize] = 0;
        self.ones[group as usize] = None;
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (from_count, joined) = (self.counts[from as usize], self.joined[from as usize]);
        if self.counts_bits() {
            let (ones, whole) = two(&mut self.ones, from, into);
            if let Some(ones) = ones {
                let whole = whole.get_or_insert_with(|| Box::new(NOTHING));
                whole.iter_mut().zip(ones.iter()).for_each(|(whole, ones)| *whole += ones);
            }
        } else if self.join == Join::Xor || from_count != 0 {
            let whole = &mut self.joined[into as usize];
            *whole = match self.join {
                Join::Xor => *whole ^ joined,
                _ if self.counts[into as usize] == 0 => joined,
                Join::And => *whole & joined,
                Join::Or => *whole | joined,
            };
        }
        self.counts[into as usize] += from_count;
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        Arc::new(groups.iter().map(|group| self.value(*group)).collect::<Int64Array>())
    }

    fn fields(&self) -> Vec<Field> {
        let counts = ["count", "joined"].map(|name| Field::new(name, DataType::Int64, true));
        counts.into_iter().chain([Field::new("ones", DataType::Binary, true)]).collect()
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let ones = groups.iter().map(|group| {
            let ones = self.ones[*group as usize].as_ref()?;
            Some(ones.iter().flat_map(|count| count.to_le_bytes()).collect::<Vec<u8>>())
        });
        vec![
            Arc::new(saved_counts(&self.counts, groups)),
            Arc::new(saved_counts(&self.joined, groups)),
            Arc::new(ones.collect::<BinaryArray>()),
        ]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        load_counts(&mut self.counts, groups, &columns[0]);
        load_counts(&mut self.joined, groups, &columns[1]);
        let saved = columns[2].as_binary::<i32>();
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| saved.is_valid(*row)) {
            let words = saved.value(row).chunks_exact(8).map(|word| word.try_into().unwrap_or_default());
            let ones: Vec<i64> = words.map(i64::from_le_bytes).collect();
            let ones = ones.try_into().map_err(|_| Error::internal("broken state of bits"))?;
            self.ones[*group as usize] = Some(Box::new(ones));
        }
        Ok(())
    }
}
