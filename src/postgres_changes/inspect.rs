//! Values as Elixir's `inspect` prints them: clients have seen these texts for years.

use std::fmt::Write as _;

use serde_json::Value;

use super::subscription::Binding;

/// Elixir breaks a list over lines when it does not fit this width.
const WIDTH: usize = 80;

/// The items of a broken list stand this far in.
const INDENT: usize = 2;

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

/// A list of strings, on one line whatever its length.
pub(super) fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(string).collect::<Vec<_>>().join(", "))
}

/// A JSON value, as Elixir holds it, on one line.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => string(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(self::value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            // Small Erlang maps keep their keys in order.
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_unstable_by(|left, right| left.0.cmp(right.0));
            let pairs: Vec<_> = pairs
                .into_iter()
                .map(|(key, item)| format!("{} => {}", string(key), self::value(item)))
                .collect();
            format!("%{{{}}}", pairs.join(", "))
        }
    }
}

/// The parameters of a binding, as error messages show them.
pub(super) fn binding(binding: &Binding) -> String {
    let tuples = |column: usize| -> Vec<String> {
        let filters = binding.filters.iter();
        let parts = filters.map(|filter| {
            let negated = filter.negated.to_string();
            [string(&filter.column), string(filter.op.name()), string(&filter.value), negated]
        });
        parts.map(|parts| flex("{", &parts, "}", column)).collect()
    };
    let select = match &binding.select {
        Some(columns) => {
            flex("[", &columns.iter().map(|column| string(column)).collect::<Vec<_>>(), "]", 0)
        }
        None => "nil".to_owned(),
    };
    format!(
        "[event: {}, schema: {}, table: {}, filters: {}, select: {select}]",
        binding.event.name(),
        binding.schema.as_str(),
        binding.table.as_str(),
        strict("[", &tuples(0), &tuples(INDENT), "]"),
    )
}

fn flat(open: &str, items: &[String], close: &str) -> Option<String> {
    let text = format!("{open}{}{close}", items.join(", "));
    (text.chars().count() <= WIDTH && !text.contains('\n')).then_some(text)
}

/// On one line if it fits, else one item a line, for which `broken` are the items.
fn strict(open: &str, items: &[String], broken: &[String], close: &str) -> String {
    flat(open, items, close).unwrap_or_else(|| {
        let indent = " ".repeat(INDENT);
        format!("{open}\n{indent}{}\n{close}", broken.join(&format!(",\n{indent}")))
    })
}

/// As many items on a line as fit, from this column on.
fn flex(open: &str, items: &[String], close: &str, column: usize) -> String {
    let indent = column + open.len();
    let (mut out, mut at) = (open.to_owned(), indent);
    for (number, item) in items.iter().enumerate() {
        // What follows an item must fit behind it: a comma, or the end.
        let width = item.chars().count() + 1;
        if number > 0 && at + 1 + width > WIDTH {
            out.push_str(",\n");
            out.push_str(&" ".repeat(indent));
            at = indent;
        } else if number > 0 {
            out.push_str(", ");
            at += 1;
        }
        out.push_str(item);
        at += width;
    }
    out + close
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
    fn what_does_not_fit_a_line_is_wrapped() {
        let words = ["twelve chars"; 6].map(string);
        assert_eq!(
            flex("[", &words, "]", 0),
            "[\"twelve chars\", \"twelve chars\", \"twelve chars\", \"twelve chars\", \"twelve chars\",\n \"twelve chars\"]"
        );
        let item = r#"{"table":"t","filter":"some_column=eq.some value,other_column=neq.other value,id=eq.1"}"#;
        let item = item.replacen('{', "{\"schema\":\"s\",", 1);
        assert_eq!(
            binding(&Binding::parse(&item).unwrap()),
            "[event: *, schema: s, table: t, filters: [\n  {\"some_column\", \"eq\", \"some value\", false},\n  {\"other_column\", \"neq\", \"other value\", false},\n  {\"id\", \"eq\", \"1\", false}\n], select: nil]"
        );
    }
}
