//! The `tidemill` binary.

use std::ffi::c_long;
use std::process::ExitCode;

use clap::Parser;
use libmimalloc_sys::{mi_option_set_default, mi_option_t};
use tidemill::control::{cli::Cli, failure, run};

/// Rows own text that crosses threads; the system's allocator makes two workers slower than one. The libraries in C
/// allocate with it as well (`override`, in the manifest): one thread of librdkafka makes each record that another
/// one gives back, and with the system's they wait for each other most of the time. It does not ask for huge pages
/// (`no_thp`, there too): with them a run took more processor time and more memory, see docs/benchmarks.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in mimalloc.h, for which the bindings have no name: how many milliseconds a free page
/// stays with the process.
const PURGE_DELAY: mi_option_t = 15;
/// After its second, the allocator's own value, what the batches of the last epochs have left goes back to the
/// system, which clears as many pages for those of the next: a tenth of the processor time of a busy process.
const PURGE_DELAY_MS: c_long = 10_000;

fn main() -> ExitCode {
    // SAFETY: Any thread may set any option at any time. What the environment says (MIMALLOC_PURGE_DELAY) stays.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
    let cli = Cli::parse().checked().unwrap_or_else(|error| error.exit());
    failure::install_panic_hook();
    run::dispatch(cli).unwrap_or_else(|error| {
        failure::print(&error);
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_option_is_that_of_the_delay() {
        // SAFETY: Options may be read at any time.
        let given = unsafe { mi_option_get(PURGE_DELAY) };
        let expected =
            std::env::var("MIMALLOC_PURGE_DELAY").map_or(1_000, |text| text.parse().expect("a number"));
        assert_eq!(given, expected, "no other option has this value");
    }
}
