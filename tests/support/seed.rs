//! Seeds of randomised tests.

use std::env;
use std::hash::{BuildHasher, RandomState};

/// The seed that the environment variable gives, which is printed. Without it the seed is the same in every run, so
/// that what fails fails again; `random` is another one each time.
pub fn seed(variable: &str) -> u64 {
    let seed = match env::var(variable) {
        Ok(given) if given == "random" => RandomState::new().hash_one(variable) % 1_000_000,
        Ok(given) => given.parse().unwrap_or_else(|error| panic!("{variable}={given}: {error}")),
        Err(_) => 1,
    };
    println!("{variable}={seed}");
    seed
}
