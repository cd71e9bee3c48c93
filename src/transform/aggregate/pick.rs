//! first_value and last_value over append-only input: one row per group.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt16Array, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, UInt16Type, UInt32Type, UInt64Type};

use crate::batch::RowOrigin;
use crate::error::Result;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::{Lane, Ties};
use crate::transform::aggregate::values::{Bits, Values};

/// The value of the row with the least or greatest (order key, origin). Rows with a NULL order key are not
/// selected; a NULL value is a value.
pub struct Pick<K: Values, V: Values> {
    last: bool,
    order_type: DataType,
    value_type: DataType,
    slots: Vec<Slot<K::Owned, V::Owned>>,
}

/// The best row of a group so far; 28 bytes for a number ordered by a time.
#[derive(Clone, Default)]
struct Slot<K, V> {
    order: K,
    value: V,
    offset: Bits,
    /// Number of the rest of the origin plus one, shifted by one bit, which says whether the value is NULL. 0 means
    /// that there is no row yet.
    lane: u32,
}

impl<K: Default, V: Default> Slot<K, V> {
    fn new(order: K, value: Option<V>, lane: Lane, offset: u64) -> Self {
        let lane = (lane + 1) << 1 | u32::from(value.is_none());
        Slot { order, value: value.unwrap_or_default(), offset: Bits::of(offset as i64), lane }
    }

    fn is_held(&self) -> bool {
        self.lane != 0
    }

    fn is_null(&self) -> bool {
        self.lane & 1 == 1
    }

    /// Of the row that is held.
    fn lane(&self) -> Lane {
        (self.lane >> 1) - 1
    }

    fn offset(&self) -> u64 {
        self.offset.get() as u64
    }
}

impl<K: Values, V: Values> Pick<K, V> {
    /// An empty `last_value` if `last`, else `first_value`.
    pub fn new(last: bool, order_type: DataType, value_type: DataType) -> Self {
        Pick { last, order_type, value_type, slots: Vec::new() }
    }

    fn slots<'a>(&'a self, groups: &'a [Group]) -> impl Iterator<Item = &'a Slot<K::Owned, V::Owned>> {
        groups.iter().map(|group| &self.slots[*group as usize])
    }
}

impl<K: Values, V: Values> State for Pick<K, V> {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.slots, slots, Slot::default);
    }

    fn bytes(&self) -> usize {
        vector(&self.slots)
    }

    fn bytes_of(&self, group: Group) -> usize {
        let slot = &self.slots[group as usize];
        K::bytes(&slot.order) + V::bytes(&slot.value)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let orders = K::of(arguments.order());
        let values = V::of(arguments.value());
        let better = if self.last { Ordering::Greater } else { Ordering::Less };
        let ties = rows.ties;
        arguments.each(rows.groups, |row, group| {
            let slot = &mut self.slots[group];
            let order = orders.get(row);
            let wins = !slot.is_held() || {
                let compared = order.cmp(&K::view(&slot.order));
                compared.then_with(|| ties.compare(row, slot.lane(), slot.offset())) == better
            };
            if wins {
                let value = values.is_valid(row).then(|| V::own(values.get(row)));
                *slot = Slot::new(K::own(order), value, ties.lanes[row], ties.offsets[row]);
            }
        });
    }

    fn clear(&mut self, group: Group) {
        self.slots[group as usize] = Slot::default();
    }

    fn merge(&mut self, from: Group, into: Group, ties: &Ties) {
        let better = if self.last { Ordering::Greater } else { Ordering::Less };
        let (slot, best) = two(&mut self.slots, from, into);
        let wins = |slot: &Slot<K::Owned, V::Owned>| {
            let compared = K::view(&slot.order).cmp(&K::view(&best.order));
            let origin = |slot: &Slot<K::Owned, V::Owned>| ties.known.origin(slot.lane(), slot.offset());
            compared.then_with(|| origin(slot).cmp(&origin(best))) == better
        };
        if slot.is_held() && (!best.is_held() || wins(slot)) {
            *best = slot.clone();
        }
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let values =
            self.slots(groups).map(|slot| (slot.is_held() && !slot.is_null()).then_some(&slot.value));
        V::array(values, &self.value_type)
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            Field::new("order", self.order_type.clone(), true),
            Field::new("value", self.value_type.clone(), true),
            Field::new("held", DataType::Boolean, true),
            Field::new("source", DataType::UInt16, true),
            Field::new("partition", DataType::UInt32, true),
            Field::new("offset", DataType::UInt64, true),
            Field::new("index", DataType::UInt32, true),
        ]
    }

    fn save(&self, groups: &[Group], ties: &Ties) -> Vec<ArrayRef> {
        let none = RowOrigin { source: 0, partition: 0, offset: 0, index: 0 };
        let origins: Vec<RowOrigin> = self
            .slots(groups)
            .map(|slot| if slot.is_held() { ties.known.origin(slot.lane(), slot.offset()) } else { none })
            .collect();
        let orders = self.slots(groups).map(|slot| slot.is_held().then_some(&slot.order));
        let held: BooleanArray = self.slots(groups).map(|slot| Some(slot.is_held())).collect();
        vec![
            K::array(orders, &self.order_type),
            self.evaluate(groups, &mut Vec::new()),
            Arc::new(held),
            Arc::new(UInt16Array::from_iter_values(origins.iter().map(|origin| origin.source))),
            Arc::new(UInt32Array::from_iter_values(origins.iter().map(|origin| origin.partition))),
            Arc::new(UInt64Array::from_iter_values(origins.iter().map(|origin| origin.offset))),
            Arc::new(UInt32Array::from_iter_values(origins.iter().map(|origin| origin.index))),
        ]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], ties: &mut Ties) -> Result<()> {
        let (orders, values) = (K::of(&columns[0]), V::of(&columns[1]));
        let held = columns[2].as_boolean();
        for (row, group) in
            groups.iter().enumerate().filter(|(row, _)| held.is_valid(*row) && held.value(*row))
        {
            let origin = RowOrigin {
                source: columns[3].as_primitive::<UInt16Type>().value(row),
                partition: columns[4].as_primitive::<UInt32Type>().value(row),
                offset: columns[5].as_primitive::<UInt64Type>().value(row),
                index: columns[6].as_primitive::<UInt32Type>().value(row),
            };
            let value = values.is_valid(row).then(|| V::own(values.get(row)));
            let lane = ties.known.number(origin);
            self.slots[*group as usize] = Slot::new(K::own(orders.get(row)), value, lane, origin.offset);
        }
        Ok(())
    }
}
