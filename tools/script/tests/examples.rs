//! Every example prints exactly what stands beside it, on any number of shards; every mistake names its line.
//! `TOUCHLINE_BLESS=1` writes the expected lines and the schema anew.

use std::path::{Path, PathBuf};
use touchline_script::{Options, run, schema};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn printed(script: &str, shards: usize) -> Result<String, String> {
    let mut out = Vec::new();
    run(script.as_bytes(), &mut out, Options { shards }).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[track_caller]
fn same_as_file(path: &Path, text: &str) {
    if std::env::var_os("TOUCHLINE_BLESS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    for (n, (found, due)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, due, "{}, line {}", path.display(), n + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count(), "{}", path.display());
}

#[test]
fn examples_print_what_stands_beside_them() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".expected.ndjson") {
            continue;
        }
        count += 1;
        let script = std::fs::read_to_string(&path).unwrap();
        let one = printed(&script, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(Ok(&one) == printed(&script, 4).as_ref(), "{name} prints other lines on 4 shards");
        same_as_file(&path.with_extension("expected.ndjson"), &one);
    }
    assert!(count >= 7);
}

#[test]
fn the_schema_is_that_of_the_language() {
    same_as_file(&folder().join("schema.json"), &schema());
}

#[test]
fn mistakes_are_told_with_their_line() {
    let opened = "# a comment\n\n{\"do\":\"open_account\",\"customer\":5}\n";
    let wrong = |line: &str, parts: &[&str]| {
        let error = printed(&format!("{opened}{line}\n"), 1).unwrap_err();
        assert!(error.starts_with("line 4: "), "{error}");
        for part in parts {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    };
    wrong("{\"do\":\"fly\"}", &["fly", "open_fixture"]);
    wrong("{\"customer\":5}", &["do"]);
    wrong("not json", &["column 2", "one whole object"]);
    wrong("{\"do\":\"open_account\",\"customer\":5,\"brnd\":1}", &["brnd", "brand"]);
    wrong("{\"do\":\"open_account\"}", &["customer"]);
    wrong("{\"do\":\"open_account\",\"customer\":\"x\"}", &["customer: invalid type"]);
    wrong(
        "{\"do\":\"set_limit\",\"scope\":\"FIXTURE\",\"fixture\":7,\"value\":\"-0.01\"}",
        &["value: ", "from 0"],
    );
    wrong(
        "{\"do\":\"open_account\",\"customer\":5,\"currency\":\"euro\"}",
        &["euro", "three capital letters"],
    );
    wrong("{\"do\":\"open_fixture\",\"fixture\":7,\"sport\":\"CHESS\"}", &["CHESS", "FOOTBALL"]);
    wrong("{\"do\":\"source_fresh\",\"source\":0,\"for_ms\":1000}", &["source", "not 0"]);
    wrong(
        "{\"do\":\"set_limit\",\"scope\":\"SELECTION\",\"fixture\":7,\"selection\":2,\"value\":\"1\"}",
        &["selection", "market"],
    );
    wrong("{\"do\":\"open_fixture\",\"fixture\":0,\"sport\":\"OTHER\"}", &["fixture", "not 0"]);
    wrong(
        "{\"do\":\"ticket\",\"customer\":5,\"fixture\":7,\"market\":1,\"selection\":0,\"stake\":\"1.00\"}",
        &["no price"],
    );
    wrong(
        "{\"do\":\"ticket\",\"customer\":5,\"fixture\":7,\"market\":1,\"selection\":0,\"stake\":\"1.001\"}",
        &["1.001"],
    );
    wrong(
        "{\"do\":\"ticket\",\"customer\":5,\"fixture\":7,\"market\":1,\"selection\":0,\"odds\":\"1.0005\",\"stake\":\"1\"}",
        &["1.0005", "odds"],
    );
    wrong("{\"do\":\"resubmit\",\"name\":\"none\"}", &["\"none\""]);
    wrong("{\"do\":\"show\",\"what\":\"exposure\",\"fixture\":9}", &["no fixture 9"]);
    wrong("{\"do\":\"show\",\"what\":\"fixture\",\"fixture\":9}", &["no fixture 9"]);
    wrong("{\"do\":\"show\",\"what\":\"weather\"}", &["weather", "exposure"]);
    wrong("{\"do\":\"advance\",\"ms\":99999999999999999}", &["ms"]);
    wrong(
        "{\"do\":\"open_markets\",\"fixture\":7,\"markets\":[{\"market\":18,\"line\":\"2.3\"}]}",
        &["2.3", "0.25"],
    );
}

#[test]
fn time_ends_with_an_error_rather_than_an_overflow() {
    let century = "{\"do\":\"advance\",\"ms\":3153600000000}\n";
    assert!(printed(century, 1).is_ok());
    let error = printed(&format!("{century}{{\"do\":\"advance\",\"ms\":1}}\n"), 1).unwrap_err();
    assert!(error.starts_with("line 2: ms: at most 0 here"), "{error}");
}

#[test]
fn what_was_printed_before_a_mistake_stays() {
    let mut out = Vec::new();
    let script = "{\"do\":\"open_account\",\"customer\":5}\n{\"do\":\"oops\"}\n";
    assert!(run(script.as_bytes(), &mut out, Options { shards: 1 }).is_err());
    assert!(String::from_utf8(out).unwrap().contains("\"kind\":\"Done\""));
}
