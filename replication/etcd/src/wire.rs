//! The one transaction in etcd's JSON: put a value in the place of the very entry that was seen, else read.
//!
//! Bytes are base64, 64-bit numbers are strings, and whatever is zero, empty or false is left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// What is under a key. Creation and version together name one single write of it, and the version rises by one
/// with each, so the entry that a put leaves behind is known even if its answer is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The revision at which the key was last created; 0 where it is absent.
    pub(crate) create_revision: u64,
    /// Writes since then; 0 where it is absent.
    pub(crate) version: u64,
    /// Its bytes.
    pub(crate) value: Vec<u8>,
}

/// What became of the transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The value is there.
    Done {
        /// The revision that the transaction made.
        revision: u64,
    },
    /// Another entry than the expected one is.
    Found(Entry),
}

/// The body of the request. One that may put is decided by etcd's log, its reading included, so that no member
/// answers from what it alone remembers; and sent twice it can put only once.
pub(crate) fn request(key: &str, seen: &Entry, value: &[u8]) -> String {
    let key = BASE64.encode(key);
    let mut compare = vec![json!({
        "key": key, "target": "VERSION", "result": "EQUAL", "version": seen.version.to_string(),
    })];
    if seen.version > 0 {
        let created = seen.create_revision.to_string();
        compare
            .push(json!({ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": created }));
        // An etcd restored from a backup counts the same versions a second time.
        let value = BASE64.encode(&seen.value);
        compare.push(json!({ "key": key, "target": "VALUE", "result": "EQUAL", "value": value }));
    }
    json!({
        "compare": compare,
        "success": [{ "request_put": { "key": key, "value": BASE64.encode(value) } }],
        "failure": [{ "request_range": { "key": key } }],
    })
    .to_string()
}

/// Reads the answer: the identity of the etcd that gave it, and the outcome. Whatever lacks what etcd always
/// says is no answer, or an empty object would read as a refusal.
pub(crate) fn answer(body: &[u8]) -> Result<(u64, Outcome), String> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let header = answer.get("header").ok_or("no header")?;
    let (etcd, revision) = (number(header, "cluster_id")?, number(header, "revision")?);
    if revision == 0 {
        return Err("no revision".to_owned());
    }
    let response = answer.pointer("/responses/0").ok_or("no response")?;
    let succeeded = match answer.get("succeeded") {
        None => false,
        Some(succeeded) => succeeded.as_bool().ok_or("`succeeded` is neither true nor false")?,
    };
    if succeeded {
        response.get("response_put").ok_or("success without a put")?;
        return Ok((etcd, Outcome::Done { revision }));
    }
    let range = response.get("response_range").ok_or("a failed comparison without a range")?;
    let entry = match range.get("kvs").and_then(Value::as_array).map(Vec::as_slice) {
        None | Some([]) => Entry::default(),
        Some([kv]) => entry(kv)?,
        Some(_) => return Err("several entries under one key".to_owned()),
    };
    Ok((etcd, Outcome::Found(entry)))
}

fn entry(kv: &Value) -> Result<Entry, String> {
    let value = match kv.get("value") {
        None => Vec::new(),
        Some(value) => BASE64
            .decode(value.as_str().ok_or("a value that is no text")?)
            .map_err(|error| format!("a value that is no base64: {error}"))?,
    };
    let (create_revision, version) = (number(kv, "create_revision")?, number(kv, "version")?);
    if create_revision == 0 || version == 0 {
        return Err("an entry that was never written".to_owned());
    }
    Ok(Entry { create_revision, version, value })
}

fn number(object: &Value, field: &str) -> Result<u64, String> {
    match object.get(field) {
        None => Ok(0),
        Some(Value::String(digits)) => {
            digits.parse().map_err(|_| format!("`{field}` is no number but {digits:?}"))
        }
        Some(other) => other.as_u64().ok_or_else(|| format!("`{field}` is no number but {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_compares_the_very_entry_that_was_seen() {
        let absent = request("k", &Entry::default(), b"");
        let absent: Value = serde_json::from_str(&absent).unwrap();
        assert_eq!(absent["compare"].as_array().unwrap().len(), 1);
        assert_eq!(absent["compare"][0]["version"], "0");
        let seen = Entry { create_revision: 7, version: 3, value: b"old".to_vec() };
        let there: Value = serde_json::from_str(&request("k", &seen, b"new")).unwrap();
        assert_eq!(there["compare"][0]["version"], "3");
        assert_eq!(there["compare"][1]["create_revision"], "7");
        assert_eq!(there["compare"][2]["value"], BASE64.encode("old"));
        assert_eq!(there["success"][0]["request_put"]["value"], BASE64.encode("new"));
        assert_eq!(there["failure"][0]["request_range"]["key"], BASE64.encode("k"));
    }

    #[test]
    fn answers_of_etcd_are_read() {
        let done = br#"{"header":{"cluster_id":"15118495548433857066","revision":"2","raft_term":"2"},
            "succeeded":true,"responses":[{"response_put":{"header":{"revision":"2"}}}]}"#;
        assert_eq!(answer(done), Ok((15_118_495_548_433_857_066, Outcome::Done { revision: 2 })));
        let empty = br#"{"header":{"cluster_id":"1","revision":"2"},"responses":[{"response_range":
            {"header":{"revision":"2"},"kvs":[{"key":"aw==","create_revision":"2","mod_revision":"2",
            "version":"1"}],"count":"1"}}]}"#;
        let found = Entry { create_revision: 2, version: 1, value: vec![] };
        assert_eq!(answer(empty), Ok((1, Outcome::Found(found))));
        let absent = br#"{"header":{"cluster_id":"1","revision":"3"},
            "responses":[{"response_range":{"header":{"revision":"3"}}}]}"#;
        assert_eq!(answer(absent), Ok((1, Outcome::Found(Entry::default()))));
    }

    #[test]
    fn what_etcd_never_says_is_no_answer() {
        let header = r#""header":{"cluster_id":"1","revision":"3"}"#;
        let range = |kv: &str| format!(r#"{{{header},"responses":[{{"response_range":{{"kvs":[{kv}]}}}}]}}"#);
        for said in [
            String::new(),
            "<html>".to_owned(),
            "{}".to_owned(),
            "null".to_owned(),
            format!("{{{header}}}"),
            r#"{"succeeded":true,"responses":[{"response_put":{}}]}"#.to_owned(),
            format!(r#"{{{header},"succeeded":true,"responses":[{{"response_range":{{}}}}]}}"#),
            format!(r#"{{{header},"succeeded":"yes","responses":[{{"response_put":{{}}}}]}}"#),
            format!(r#"{{{header},"responses":[{{"response_put":{{}}}}]}}"#),
            range(r#"{"create_revision":"1","version":"1","value":"*"}"#),
            range(r#"{"create_revision":"1","version":"-1"}"#),
            range(r#"{"version":"1"}"#),
            range(r#"{"create_revision":"1","version":"1"},{"create_revision":"1","version":"1"}"#),
        ] {
            assert!(answer(said.as_bytes()).is_err(), "{said}");
        }
    }
}
