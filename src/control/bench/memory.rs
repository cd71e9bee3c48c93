//! How many bytes of memory a state needs for each key, by the growth of the resident size.
//!
//! The state alone, in this process: no reader and no sink has a part in what is measured.

mod distinct;
mod latest;

use std::time::Duration;

use rand::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::args::{MemoryArgs, MemoryOf};
use crate::error::Result;

const SEED: u64 = 1;

/// Fills a state and prints what it needs.
pub fn run(args: &MemoryArgs) -> Result<()> {
    match args.of {
        MemoryOf::Distinct => distinct::run(args),
        MemoryOf::Latest => latest::run(args, false),
        MemoryOf::View => latest::run(args, true),
    }
}

/// The id of a number: hexadecimal digits as of a UUID, and as many more as are wanted.
fn write_id(id: &mut String, number: u64, bytes: usize) {
    let random = &mut Pcg64Mcg::seed_from_u64(SEED ^ number);
    id.clear();
    while id.len() < bytes {
        if id.len() == 8 {
            id.push('-');
        }
        id.push_str(&format!("{:016x}", random.next_u64()));
    }
    id.truncate(bytes);
}

/// Lets the allocator give back what is free: it does so a little later, when it is asked for something.
fn give_back() {
    for _ in 0..50 {
        std::thread::park_timeout(Duration::from_millis(10));
        let parts: Vec<Vec<u8>> = (0..1_000).map(|size| Vec::with_capacity(size * 16)).collect();
        drop(parts);
    }
}
