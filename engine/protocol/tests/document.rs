//! `PROTOCOL.md` against the definitions: its byte tables are generated, its header table is true.
//!
//! With `TOUCHLINE_BLESS=1` in the environment the generated part is written anew.

mod common;

use common::{envelope, frame_of, in_crate, is_blessing, sample};
use touchline_protocol::document::byte_tables;
use touchline_protocol::frame::SCHEMA_VERSION;
use touchline_protocol::*;

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

/// The file in three parts: up to the first marker, between the markers, from the second one on.
fn parts() -> (String, String, String) {
    let text = std::fs::read_to_string(in_crate("PROTOCOL.md")).expect("PROTOCOL.md stands beside the crate");
    let (before, rest) = text.split_once(BEGIN).expect("the marker before the generated part");
    let (generated, after) = rest.split_once(END).expect("the marker behind the generated part");
    (format!("{before}{BEGIN}"), generated.to_owned(), format!("{END}{after}"))
}

#[test]
fn the_byte_tables_are_those_of_the_definitions() {
    let (before, generated, after) = parts();
    let tables = byte_tables();
    if is_blessing() {
        let text = format!("{before}{tables}{after}");
        std::fs::write(in_crate("PROTOCOL.md"), text).expect("PROTOCOL.md can be written");
    } else {
        let line = generated.lines().zip(tables.lines()).position(|(found, wanted)| found != wanted);
        assert!(
            generated == tables,
            "PROTOCOL.md differs from the definitions at line {line:?} of its generated part; run this test \
             with TOUCHLINE_BLESS=1 and review what changed"
        );
    }
}

#[test]
fn every_kind_has_a_table() {
    let tables = byte_tables();
    for kind in Kind::ALL {
        let heading = format!("### {} · kind {}\n", kind.name(), *kind as u16);
        assert_eq!(tables.matches(&heading).count(), 1, "{heading}");
    }
}

#[test]
fn the_header_stands_where_its_table_says() {
    let kind = Kind::SubmitTicket;
    let frame = frame_of(&sample(kind));
    let e = envelope();
    let crc = crc32c::crc32c(&frame[8..]);
    let wanted: [(&str, Vec<u8>); 16] = [
        ("magic", b"TLF\x01".to_vec()),
        ("crc", crc.to_le_bytes().to_vec()),
        ("length", (frame.len() as u32).to_le_bytes().to_vec()),
        ("kind", (kind as u16).to_le_bytes().to_vec()),
        ("block", (kind.block_bytes() as u16).to_le_bytes().to_vec()),
        ("schema", SCHEMA_VERSION.to_le_bytes().to_vec()),
        ("partition", e.partition.0.to_le_bytes().to_vec()),
        ("reserved", vec![0; 4]),
        ("cluster", e.cluster.to_le_bytes().to_vec()),
        ("epoch", e.epoch.0.to_le_bytes().to_vec()),
        ("seq", e.seq.0.to_le_bytes().to_vec()),
        ("at", e.at.0.to_le_bytes().to_vec()),
        ("wall", e.wall.0.to_le_bytes().to_vec()),
        ("previous", e.previous.0.to_le_bytes().to_vec()),
        ("origin", e.origin.to_le_bytes().to_vec()),
        ("request", e.request.to_le_bytes().to_vec()),
    ];
    let (text, ..) = parts();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.matches('|').count() == 6)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells[0].parse::<usize>().is_ok())
        .collect();
    let mut end = 0;
    assert_eq!(rows.len(), wanted.len());
    for (row, (name, bytes)) in rows.iter().zip(&wanted) {
        let (offset, size): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert_eq!((offset, row[2]), (end, format!("`{name}`").as_str()));
        assert_eq!(&frame[offset..offset + size], bytes, "{name}");
        end = offset + size;
    }
    assert_eq!(end, HEADER_BYTES);
}
