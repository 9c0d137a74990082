//! Any text as a script.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_script::{Options, run};

fuzz_target!(|script: &[u8]| {
    let _ = run(script, &mut Vec::new(), Options { shards: 1 });
});
