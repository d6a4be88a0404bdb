//! Values as Elixir's `inspect` prints them: clients have seen these texts for years.

use std::fmt::Write as _;

use serde_json::Value;

use super::subscription::Binding;

/// Elixir breaks a list over lines when it does not fit this width.
const WIDTH: usize = 80;

/// A string in quotes.
pub(super) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{B}' => out.push_str("\\v"),
            '\u{C}' => out.push_str("\\f"),
            '\u{1B}' => out.push_str("\\e"),
            '\u{7F}' => out.push_str("\\d"),
            char if char.is_control() => {
                let _ = write!(out, "\\x{{{:X}}}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// A list of strings.
pub(super) fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    wrap("[", items.map(string).collect(), "]")
}

/// A JSON value, as Elixir holds it.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => string(text),
        Value::Array(items) => wrap("[", items.iter().map(self::value).collect(), "]"),
        Value::Object(map) => {
            // Small Erlang maps keep their keys in order.
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_unstable_by(|left, right| left.0.cmp(right.0));
            let pairs = pairs
                .into_iter()
                .map(|(key, item)| format!("{} => {}", string(key), self::value(item)));
            wrap("%{", pairs.collect(), "}")
        }
    }
}

/// The parameters of a binding, as error messages show them.
pub(super) fn binding(binding: &Binding) -> String {
    let filters = binding.filters.iter().map(|filter| {
        format!(
            "{{{}, {}, {}, {}}}",
            string(&filter.column),
            string(filter.op.name()),
            string(&filter.value),
            filter.negated
        )
    });
    let select = match &binding.select {
        Some(columns) => list(columns.iter().map(|column| &**column)),
        None => "nil".to_owned(),
    };
    format!(
        "[event: {}, schema: {}, table: {}, filters: {}, select: {select}]",
        binding.event.name(),
        binding.schema.as_str(),
        binding.table.as_str(),
        wrap("[", filters.collect(), "]"),
    )
}

/// On one line if it fits, else one item a line.
fn wrap(open: &str, items: Vec<String>, close: &str) -> String {
    let width: usize = items.iter().map(|item| item.chars().count() + 2).sum();
    if width + open.len() + close.len() <= WIDTH + 2 {
        return format!("{open}{}{close}", items.join(", "));
    }
    let indent = " ".repeat(if open == "[" { 1 } else { 2 });
    if open == "[" {
        return format!("{open}{}{close}", items.join(&format!(",\n{indent}")));
    }
    format!("{open}\n{indent}{}\n{close}", items.join(&format!(",\n{indent}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_elixir_prints_them() {
        let json: Value =
            serde_json::from_str(r#"{"table":5,"b":null,"a":[1.5,true,"x \"y\""],"m":{}}"#)
                .unwrap();
        assert_eq!(
            value(&json),
            r#"%{"a" => [1.5, true, "x \"y\""], "b" => nil, "m" => %{}, "table" => 5}"#
        );
    }

    #[test]
    fn a_list_that_does_not_fit_is_wrapped() {
        let items = ["x"; 30];
        let text = list(items.into_iter());
        assert!(text.starts_with("[\"x\",\n \"x\",\n"), "{text}");
    }
}
