//! What the hand-written part of `PROTOCOL.md` says about the header and about later versions, against the code.

use touchline_protocol::frame::{SCHEMA_VERSION, encode};
use touchline_protocol::*;

/// Cells of the header's table: offset, size, name.
fn header_rows() -> Vec<(usize, usize, String)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md");
    let text = std::fs::read_to_string(path).expect("PROTOCOL.md stands beside the crate");
    let (_, rest) = text.split_once("## The frame\n").expect("a section on the frame");
    let (section, _) = rest.split_once("\n## ").expect("a section behind it");
    section
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (offset, size) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
            Some((offset, size, cells.next()?.trim_matches('`').to_owned()))
        })
        .collect()
}

#[test]
fn the_header_stands_where_its_table_says() {
    let e = Envelope {
        cluster: 0x1817_1615_1413_1211,
        epoch: Epoch(0x2827_2625_2423_2221),
        seq: Seq(0x3837_3635_3433_3231),
        at: At(0x4847_4645_4443_4241),
        wall: At(-0x5857_5655_5453_5251),
        partition: PartitionId(0x3F),
        previous: ChainHash(0x6F6E_6D6C_6B6A_6968_6766_6564_6362_6160),
        origin: 0x7877_7675_7473_7271,
        request: 0x8887_8685_8483_8281,
    };
    let kind = Kind::Settled;
    let mut frame = Vec::new();
    encode(&e, &Body::sample(kind, 3), &mut frame);
    let wanted: [(&str, Vec<u8>); 16] = [
        ("magic", b"TLF\x01".to_vec()),
        ("crc", crc32c::crc32c(&frame[8..]).to_le_bytes().to_vec()),
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
    let rows = header_rows();
    assert_eq!(rows.len(), wanted.len());
    let mut end = 0;
    for ((offset, size, found), (name, bytes)) in rows.iter().zip(&wanted) {
        assert_eq!((*offset, found.as_str()), (end, *name));
        assert_eq!(&frame[*offset..offset + size], bytes, "{name}");
        end = offset + size;
    }
    assert_eq!(end, HEADER_BYTES);
}

#[test]
fn a_longer_entry_of_a_later_version_is_read_up_to_what_is_known() {
    let Body::SetPrices(sampled) = Body::sample(Kind::SetPrices, 2) else { panic!("a sample of its kind") };
    let mut bytes = Vec::new();
    Body::from(sampled.clone()).put(&mut bytes);
    bytes.truncate(Kind::SetPrices.block_bytes());
    // Entries of fourteen bytes, of which this version knows twelve.
    bytes.extend_from_slice(&[14, 0, 2, 0]);
    for price in sampled.prices.iter() {
        for part in [price.milli, price.num, price.den] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        bytes.extend_from_slice(&[0xEE; 2]);
    }
    let found = Body::decode(Kind::SetPrices as u16, Kind::SetPrices.block_bytes(), &bytes);
    assert_eq!(found, Ok(sampled.into()));
}

#[test]
fn a_block_or_entry_too_short_is_refused_as_truncated() {
    let mut bytes = Vec::new();
    Body::sample(Kind::SetPrices, 2).put(&mut bytes);
    let block = Kind::SetPrices.block_bytes();
    let fault = |block: usize, bytes: &[u8]| match Body::decode(Kind::SetPrices as u16, block, bytes) {
        Err(DecodeError::Field { field, fault, .. }) => (field, fault),
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(block - 1, &bytes), ("basis", Fault::Truncated));
    bytes[block] = 3;
    assert_eq!(fault(block, &bytes), ("prices", Fault::Truncated));
}
