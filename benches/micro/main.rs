//! Micro-benchmarks of what is done for each record. `cargo bench` measures; `cargo nextest run --benches`, as all
//! tests do, runs each of them once to see that it works.

mod arrangement;
mod codec;
mod common;
mod decoder;
mod keys;
mod mongodb;
mod split;
mod state;

use criterion::{criterion_group, criterion_main};

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(
    benches,
    decoder::all,
    keys::all,
    split::all,
    codec::all,
    state::all,
    arrangement::all,
    mongodb::all
);
criterion_main!(benches);
