//! One line of text as a command, or a sentence that says what is wrong with it and in which field.

use crate::language::Line;
use serde_json::error::Category;
use serde_json::{Map, Value as Json};

/// Reads a line. The error names the column where the text is no JSON, else the field that is wrong.
pub(crate) fn line(text: &str) -> Result<Line, String> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => in_field(text, plain(&error)),
        Category::Syntax | Category::Eof | Category::Io => {
            format!(
                "not JSON at column {}: {}; write one whole object in one line",
                error.column(),
                plain(&error)
            )
        }
    })
}

/// The message without its position, which counts lines within the one line of text.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Puts the field's name before a message that does not tell it: the field that is wrong in the same way when it
/// stands alone beside the kind, since values are read before missing fields are noticed.
fn in_field(text: &str, why: String) -> String {
    let Ok(fields) = serde_json::from_str::<Map<String, Json>>(text) else {
        return format!("{why}; write one object, as {{\"do\":\"advance\",\"ms\":1000}}");
    };
    let tells = ["missing field", "unknown field", "duplicate field", "unknown variant"];
    if tells.iter().any(|start| why.starts_with(start)) {
        return why;
    }
    let is_wrong_alone = |name: &&str| {
        let kept = fields.iter().filter(|(key, _)| *key == "do" || key == name);
        let alone = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        serde_json::from_value::<Line>(Json::Object(alone)).is_err_and(|error| plain(&error) == why)
    };
    let others = fields.keys().map(String::as_str).filter(|name| *name != "do");
    let culprit = std::iter::once("do").chain(others).find(is_wrong_alone);
    culprit.map_or_else(|| why.clone(), |name| format!("{name}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_told_with_its_field() {
        let why = |text: &str| line(text).unwrap_err();
        let two = r#"{"do":"open_account","brand":1,"currency":"EUR","customer":"x"}"#;
        assert_eq!(why(two), r#"customer: invalid type: string "x", expected u64"#);
        let deep = r#"{"do":"configure","brands":[{"id":70000,"currency":"EUR"}]}"#;
        assert!(why(deep).starts_with("brands: "), "{}", why(deep));
        let amount = r#"{"do":"set_limit","scope":"FIXTURE","fixture":7,"value":"-0.01"}"#;
        assert!(why(amount).starts_with("value: \"-0.01\" is not an amount"), "{}", why(amount));
        let twins = r#"{"do":"settle_market","selection":"x","fixture":"x","market":1}"#;
        assert_eq!(why(twins), r#"selection: invalid type: string "x", expected u8"#);
        assert!(why(r#"{"do":7,"ms":1}"#).starts_with("do: "), "{}", why(r#"{"do":7,"ms":1}"#));
    }

    #[test]
    fn text_that_is_no_object_is_told_with_its_column() {
        let why = line(r#"{"do":"advance","#).unwrap_err();
        assert!(why.starts_with("not JSON at column 16: ") && !why.contains("line 1"), "{why}");
        assert!(line("[]").unwrap_err().contains("one object"));
    }
}
