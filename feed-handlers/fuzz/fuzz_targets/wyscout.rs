//! Any bytes as the two files of a recording.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_feeds::wyscout::{Prior, decode, timeline};
use touchline_protocol::CompetitionId;

fuzz_target!(|files: (&[u8], &[u8])| {
    let (matches, events) = files;
    if let Ok(recorded) = decode(("matches", matches), ("events", events)) {
        let prior = Prior { goals_nano: [1; 2], margin_ppm: 0 };
        recorded.iter().for_each(|recorded| drop(timeline(recorded, CompetitionId(1), prior)));
    }
});
