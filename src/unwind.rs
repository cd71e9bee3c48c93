//! Panics of library code over data, as errors.
//!
//! A function of a library may panic on a value that nobody thought of. That is the value's fault, not the
//! dataflow's: where expressions are evaluated a panic becomes an error of the row. Everywhere else it ends
//! the process, see [`crate::control::failure`].

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `evaluate`; a panic in it is an error with the panic's text. What it works on must be fit to be thrown
/// away or used again after a panic: expressions and the arrays that they read are.
pub fn catch<T>(evaluate: impl FnOnce() -> T) -> Result<T, String> {
    let before = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(evaluate));
    CATCHING.set(before);
    result.map_err(|panic| text_of(panic.as_ref()))
}

/// Whether a panic on this thread will be caught.
pub fn catching() -> bool {
    CATCHING.get()
}

/// The text of a panic, as far as it has one.
pub fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        assert_eq!(catch(|| 7), Ok(7));
        let panicked = catch(|| -> i32 { panic!("a value that nobody thought of") });
        assert_eq!(panicked, Err("a value that nobody thought of".to_owned()));
        assert!(!catching());
    }
}
