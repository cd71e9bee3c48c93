//! Any bytes through the decoders of JSON and CSV; what has to hold is in `tidemill::probe`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill::probe::Probe;

fuzz_target!(|data: &[u8]| Probe::shared().bytes(data));
