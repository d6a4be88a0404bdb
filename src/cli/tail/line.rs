//! A change as one line.

use serde_json::{Map, Value};

use super::super::screen::{BAD, FAINT, GOOD, STRONG, VALUE, paint};

/// The time, what happened, where, and the row; what differs of an old row
/// comes after it.
pub(super) fn of(change: &Value) -> String {
    let text = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type");
    let style = match kind {
        "INSERT" => GOOD,
        "DELETE" => BAD,
        _ => VALUE,
    };
    let row = |name: &str| change.get(name).and_then(Value::as_object);
    let (new, old) = (row("record"), row("old_record"));
    // `2026-01-02T03:04:05.678Z`; the day is known to whoever watches.
    let time = text("commit_timestamp").get(11..23).unwrap_or_default();
    let mut parts = vec![
        paint(FAINT, time),
        paint(style, format!("{kind:<6}")),
        paint(STRONG, format!("{}.{}", text("schema"), text("table"))),
    ];
    let order = change.get("columns").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names = || order.iter().filter_map(|column| column.get("name")?.as_str());
    match (new, old) {
        (Some(new), Some(old)) => {
            parts.extend(names().filter_map(|name| value(new, name)));
            let differs = |name: &&str| old.get(*name) != new.get(*name);
            let before: Vec<String> =
                names().filter(differs).filter_map(|name| value(old, name)).collect();
            if !before.is_empty() {
                parts.push(paint(FAINT, format!("was {}", before.join(" "))));
            }
        }
        (Some(row), None) | (None, Some(row)) => {
            parts.extend(names().filter_map(|name| value(row, name)));
        }
        (None, None) => {}
    }
    if let Some(errors) = change.get("errors").filter(|errors| !errors.is_null()) {
        parts.push(paint(BAD, errors));
    }
    parts.join(" ")
}

/// Somebody else wrote it: nothing in it may act on the terminal.
fn value(row: &Map<String, Value>, name: &str) -> Option<String> {
    let text = format!("{name}={}", row.get(name)?);
    Some(text.replace(char::is_control, "\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(change: &Value) -> String {
        anstream::adapter::strip_str(&of(change)).to_string()
    }

    #[test]
    fn a_line_tells_what_happened() {
        let columns =
            json!([{ "name": "id", "type": "int8" }, { "name": "title", "type": "text" }]);
        let mut change = json!({
            "schema": "public", "table": "todos", "commit_timestamp": "2026-01-02T03:04:05.678Z",
            "type": "UPDATE", "columns": columns, "errors": null,
            "record": { "title": "new\n\u{1b}[2J", "id": 7 }, "old_record": { "id": 7, "title": "old" },
        });
        assert_eq!(
            plain(&change),
            r#"03:04:05.678 UPDATE public.todos id=7 title="new\n\u001b[2J" was title="old""#
        );
        change["old_record"] = json!({ "id": 7 });
        change["record"] = Value::Null;
        change["type"] = "DELETE".into();
        assert_eq!(plain(&change), "03:04:05.678 DELETE public.todos id=7");
        change["errors"] = json!(["Error 401: Unauthorized"]);
        change["old_record"] = Value::Null;
        change["type"] = "INSERT".into();
        let refused = r#"03:04:05.678 INSERT public.todos ["Error 401: Unauthorized"]"#;
        assert_eq!(plain(&change), refused);
    }
}
