//! Writes `schema.xml`, the messages in Simple Binary Encoding 1.0, from the same tables as `PROTOCOL.md`.

use crate::body::{Class, Kind};
use crate::document::{Fields, entries, enumerations, records};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What SBE covers of a frame and what not; XML forbids two dashes in a row here.
const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<!--
  Touchline's messages in Simple Binary Encoding 1.0. Written from the definitions in src/ and compared by a test
  (TOUCHLINE_BLESS=1 writes it anew). PROTOCOL.md beside it says what the messages mean.

  Covered exactly, byte for byte:
  * the frame's header: it is this schema's messageHeader, 96 bytes. It has templateId (PROTOCOL.md: kind), blockLength
    (block) and version (schema) like any other, and more. SBE wants a schemaId, which the wire does not have: it is read
    from the lower half of the field `reserved`, which is always 0, as is the id of this schema;
  * every block, and lists as groups with groupSizeEncoding, and texts as data with the composite text.

  Not covered, so to be done by hand:
  * splitting a stream: read `length`, the bytes of the whole frame with its header; there is no other framing;
  * `magic` (TLF and 1), `crc` (CRC32C, Castagnoli, of bytes 8 to the frame's end), `reserved` and the limit of 65536 bytes:
    a reader that does not check them reads right, but a frame that is written without them is refused;
  * `previous`, the hash chain (XXH3-128) of a logged frame: 0 in what a client sends, and not to be checked by it;
  * limits of lists and texts, and ranges of values: in the descriptions and in PROTOCOL.md;
  * messages whose texts stand before their lists, an order that SBE does not have: only their block is here, each says so,
    and `length` tells where the frame ends.

  Otherwise than SBE would have it:
  * no field has a null value; every value of an integer's type may occur, also those that SBE sets aside;
  * a later version appends fields to a block or to a list's entries without raising `version`: the lengths on the wire
    tell, and sinceVersion is never used;
  * the 16 bytes of a ticketId and the parts of a uint128 are bytes and words to SBE: a ticketId stands most significant
    byte first, a uint128 least significant word first.
-->
<sbe:messageSchema xmlns:sbe="http://fixprotocol.io/2016/sbe" package="touchline" id="0" version="1"
                   byteOrder="littleEndian" headerType="messageHeader">
    <types>
        <composite name="messageHeader" description="The frame's header.">
            <type name="magic" primitiveType="uint8" length="4"/>
            <type name="crc" primitiveType="uint32"/>
            <type name="length" primitiveType="uint32"/>
            <type name="templateId" primitiveType="uint16"/>
            <type name="blockLength" primitiveType="uint16"/>
            <type name="version" primitiveType="uint16"/>
            <type name="partition" primitiveType="uint16"/>
            <type name="schemaId" primitiveType="uint16"/>
            <type name="reserved" primitiveType="uint16"/>
            <type name="cluster" primitiveType="uint64"/>
            <type name="epoch" primitiveType="uint64"/>
            <type name="seq" primitiveType="uint64"/>
            <type name="at" primitiveType="int64"/>
            <type name="wall" primitiveType="int64"/>
            <type name="previous" primitiveType="uint8" length="16"/>
            <type name="origin" primitiveType="uint64"/>
            <type name="request" primitiveType="uint64"/>
        </composite>
        <composite name="groupSizeEncoding" description="Before the entries of a list.">
            <type name="blockLength" primitiveType="uint16"/>
            <type name="numInGroup" primitiveType="uint16"/>
        </composite>
        <composite name="text" description="UTF-8 without control characters and without a final zero.">
            <type name="length" primitiveType="uint16"/>
            <type name="varData" primitiveType="uint8" length="0" characterEncoding="UTF-8"/>
        </composite>
        <composite name="uint128" description="A number of 16 bytes.">
            <type name="low" primitiveType="uint64"/>
            <type name="high" primitiveType="uint64"/>
        </composite>
        <type name="ticketId" primitiveType="uint8" length="16" description="Most significant byte first."/>
        <type name="currency" primitiveType="char" length="3" characterEncoding="US-ASCII" description="Capitals."/>
        <type name="enum8" primitiveType="uint8" nullValue="254"/>
        <type name="enum16" primitiveType="uint16" nullValue="65534"/>
        <enum name="bool" encodingType="enum8">
            <validValue name="FALSE">0</validValue>
            <validValue name="TRUE">1</validValue>
        </enum>
"#;

/// All of `schema.xml`.
pub fn sbe_schema() -> String {
    let mut out = HEAD.to_owned();
    for (name, values) in enumerations() {
        let bytes = if name == "Code" { 16 } else { 8 };
        let _ = writeln!(out, "        <enum name=\"{name}\" encodingType=\"enum{bytes}\">");
        for (number, term) in values {
            let _ = writeln!(out, "            <validValue name=\"{term}\">{number}</validValue>");
        }
        out.push_str("        </enum>\n");
    }
    for (name, members) in composites() {
        composite(&name, &members, &mut out);
    }
    for (name, _, fields) in records() {
        composite(
            name,
            &fields.iter().map(|field| (field.0.to_owned(), sbe_type(field.1), 1)).collect(),
            &mut out,
        );
    }
    out.push_str("    </types>\n");
    for kind in Kind::ALL {
        message(*kind, &mut out);
    }
    out.push_str("</sbe:messageSchema>\n");
    out
}

/// Name, type and count of each part of a composite.
type Members = Vec<(String, String, usize)>;

fn composite(name: &str, members: &Members, out: &mut String) {
    let _ = writeln!(out, "        <composite name=\"{name}\">");
    for (member, form, count) in members {
        let array = if *count > 1 { format!(" length=\"{count}\"") } else { String::new() };
        let _ = if is_primitive(form) {
            writeln!(out, "            <type name=\"{member}\" primitiveType=\"{form}\"{array}/>")
        } else {
            writeln!(out, "            <ref name=\"{member}\" type=\"{form}\"/>")
        };
    }
    out.push_str("        </composite>\n");
}

/// The composites that wire types describe in their own names, as in `market: u16 number, i32 line in quarters`.
fn composites() -> BTreeMap<String, Members> {
    let all = Kind::ALL.iter().flat_map(|kind| kind.table().fields.iter());
    let all = all.chain(records().into_iter().chain(entries()).flat_map(|(_, _, fields)| fields.iter()));
    let described = all.filter_map(|(_, form, ..)| form.split_once(": "));
    described.map(|(name, parts)| (name.to_owned(), parts.split(", ").map(part).collect())).collect()
}

/// `u32 clock_ms` or `2×u16 score`.
fn part(text: &str) -> (String, String, usize) {
    let (count, rest) = match text.split_once('×') {
        Some((count, rest)) => (count.parse().expect("a count before the sign"), rest),
        None => (1, text),
    };
    let (form, name) = rest.split_once(' ').expect("a type and a name");
    (name.replace(' ', "_"), sbe_type(form), count)
}

/// The schema's name for a wire type of the byte tables.
fn sbe_type(form: &str) -> String {
    match form {
        "3 × ASCII capital" => return "currency".into(),
        "ticket id" => return "ticketId".into(),
        "u128" => return "uint128".into(),
        _ => {}
    }
    if let Some((composite, _)) = form.split_once(": ") {
        return composite.to_owned();
    }
    match form.split_once(' ') {
        Some((_, name)) if enumerations().iter().any(|(known, _)| *known == name) => name.to_owned(),
        Some((number, _unit)) => sbe_type(number),
        None => match form.as_bytes()[0] {
            b'u' => form.replace('u', "uint"),
            b'i' => form.replace('i', "int"),
            _ => form.to_owned(),
        },
    }
}

fn is_primitive(form: &str) -> bool {
    matches!(form, "uint8" | "uint16" | "uint32" | "uint64" | "int32" | "int64")
}

fn message(kind: Kind, out: &mut String) {
    let (table, name, number, block) = (kind.table(), kind.name(), kind as u16, kind.block_bytes());
    let class = match kind.class() {
        Class::Node => "logged: from the node itself",
        Class::Command => "logged: from clients",
        Class::Internal => "logged: between partitions",
        Class::Session => "session",
        Class::Effect => "effect",
    };
    let doc = attribute(table.doc);
    let is_list = |tail: &(&str, String, &str)| tail.1.starts_with("list");
    let expressible = table.tails.is_sorted_by_key(|tail| !is_list(tail));
    if !expressible {
        let tails: Vec<_> = table.tails.iter().map(|tail| format!("{} ({})", tail.0, tail.1)).collect();
        let _ = writeln!(
            out,
            "    <!-- Only the block of {name}; behind it stand, in this order: {}. -->",
            tails.join(", ")
        );
    }
    let _ = writeln!(
        out,
        "    <sbe:message name=\"{name}\" id=\"{number}\" blockLength=\"{block}\" semanticType=\"{class}\"\n                 description=\"{doc}\">"
    );
    let mut id = 0;
    fields(table.fields, 8, &mut id, out);
    for tail in table.tails.iter().filter(|_| expressible) {
        id += 1;
        let (name, form, doc) = (tail.0, &tail.1, attribute(tail.2));
        if is_list(tail) {
            let entry = entries().into_iter().find(|entry| form.contains(&format!("× {} (", entry.0)));
            let (_, _, of) = entry.expect("an entry of every list");
            let size: usize = of.iter().map(|field| field.2).sum();
            let _ = writeln!(
                out,
                "        <group name=\"{name}\" id=\"{id}\" blockLength=\"{size}\" dimensionType=\"groupSizeEncoding\"\n               description=\"{doc}; {form}\">"
            );
            fields(of, 12, &mut id, out);
            out.push_str("        </group>\n");
        } else {
            let _ = writeln!(
                out,
                "        <data name=\"{name}\" id=\"{id}\" type=\"text\" description=\"{doc}; {form}\"/>"
            );
        }
    }
    out.push_str("    </sbe:message>\n");
}

fn fields(fields: Fields, indent: usize, id: &mut u32, out: &mut String) {
    for (name, form, _, doc) in fields {
        *id += 1;
        let (form, doc) = (sbe_type(form), attribute(doc));
        let _ = writeln!(
            out,
            "{:indent$}<field name=\"{name}\" id=\"{id}\" type=\"{form}\" description=\"{doc}\"/>",
            ""
        );
    }
}

/// A text on one line as the value of an attribute.
fn attribute(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_term_of_an_enumeration_is_its_null_value() {
        for (name, values) in enumerations() {
            let null = if name == "Code" { 65_534 } else { 254 };
            assert!(values.iter().all(|(number, _)| *number != null), "{name}");
        }
    }

    #[test]
    fn the_comment_is_one_that_xml_allows() {
        let (_, rest) = HEAD.split_once("<!--").unwrap();
        let (comment, _) = rest.split_once("-->").unwrap();
        assert!(!comment.contains("--"));
    }
}
