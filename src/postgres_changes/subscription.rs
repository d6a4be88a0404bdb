//! What a client asks for: one `postgres_changes` item of a join.
//!
//! A [`Binding`] exists only for an item that parses; whether its table is
//! published and its columns exist is the catalog's to say. The join reply
//! echoes items byte for byte, because clients compare them with their own.

use std::{fmt::Write as _, sync::Arc};

use serde_json::{Map, Value};

use super::{
    filter::{Filter, FilterError, parse},
    inspect,
};

/// Ids stay below 2^27, as clients have always seen them; zero means "no id" to some.
const MAX_ID: u64 = (1 << 27) - 1;

/// A parsed item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    /// Which events.
    pub event: EventFilter,
    /// Of which schema.
    pub schema: Name,
    /// Of which table.
    pub table: Name,
    /// All must hold; in the client's order.
    pub filters: Vec<Filter>,
    /// Only these columns and the primary key. Never empty.
    pub select: Option<Vec<Arc<str>>>,
    /// Depends on the item's content only; from 1 to 2^27 − 1.
    pub id: u32,
}

/// Which events a binding wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventFilter {
    /// `*`, and everything that is no event name.
    All,
    /// New rows.
    Insert,
    /// Changed rows.
    Update,
    /// Deleted rows.
    Delete,
}

/// A schema or table name, taken literally.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// `*`
    Any,
    /// This one.
    Exact(Arc<str>),
}

/// Why an item is no binding. `Display` is what clients are told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// Neither a usable schema nor table.
    #[error(
        "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: {0}"
    )]
    NoParameters(String),
    /// The filter does not parse.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `select` is a string.
    #[error(
        "Error parsing `select` params: expected a list of column name strings, e.g. select: [\"col1\", \"col2\"]"
    )]
    SelectNotAList,
    /// `select` needs one table.
    #[error(
        "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
    )]
    SelectWithWildcard,
}

impl Binding {
    /// Reads an item from its JSON text.
    ///
    /// # Errors
    ///
    /// [`BindingError`], whose text goes to the client as it is.
    pub fn parse(item: &str) -> Result<Self, BindingError> {
        let item = serde_json::from_str(item).unwrap_or(Value::Null);
        let Value::Object(map) = &item else {
            return Err(BindingError::NoParameters(inspect::value(&item)));
        };
        let (schema, table, filter) = names(map).ok_or_else(|| no_parameters(map))?;
        let filters = parse::parse(filter)?;
        let select = select(map.get("select"))?;
        let (schema, table) = (Name::of(schema), Name::of(table));
        if select.is_some() && (schema == Name::Any || table == Name::Any) {
            return Err(BindingError::SelectWithWildcard);
        }
        let event = map.get("event").and_then(Value::as_str);
        let event = event.map_or(EventFilter::All, EventFilter::of);
        Ok(Self { event, schema, table, filters, select, id: id(map) })
    }
}

impl EventFilter {
    fn of(name: &str) -> Self {
        match name.to_uppercase().as_str() {
            "INSERT" => Self::Insert,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            _ => Self::All,
        }
    }

    /// The name clients use.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "*",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

impl Name {
    fn of(name: &str) -> Self {
        if name == "*" { Self::Any } else { Self::Exact(Arc::from(name)) }
    }

    /// The name, `*` for any.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::Exact(name) => name,
        }
    }

    /// The name, if it is one.
    pub fn exact(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::Exact(name) => Some(name),
        }
    }

    /// True if this pattern covers `name`.
    pub fn covers(&self, name: &str) -> bool {
        self.exact().is_none_or(|exact| exact == name)
    }
}

/// The item that a legacy join stands for: its sub-topic is `schema[:table[:filter]]`.
pub fn legacy_item(sub_topic: &str) -> String {
    let keys = ["schema", "table", "filter"];
    let parts = keys.into_iter().zip(sub_topic.splitn(3, ':'));
    let map: Map<String, Value> =
        parts.map(|(key, part)| (key.to_owned(), Value::from(part))).collect();
    Value::Object(map).to_string()
}

/// The list `postgres_changes` of a join reply: every item as the client wrote
/// it, with its `id`. Items that are null are left out.
pub fn reply_entries<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for item in items.into_iter().map(str::trim).filter(|item| *item != "null") {
        if out.len() > 1 {
            out.push(',');
        }
        write_entry(&mut out, item);
    }
    out.push(']');
    out
}

fn write_entry(out: &mut String, item: &str) {
    let Ok(Value::Object(mut map)) = serde_json::from_str::<Value>(item) else {
        out.push_str(item);
        return;
    };
    let id = id(&map);
    // A string takes everything.
    let _ = if map.contains_key("id") {
        // Ours wins, and a key must not appear twice.
        map.insert("id".to_owned(), Value::from(id));
        write!(out, "{}", Value::Object(map))
    } else {
        let comma = if map.is_empty() { "" } else { "," };
        let open = item.strip_suffix('}').unwrap_or(item);
        write!(out, "{open}{comma}\"id\":{id}}}")
    };
}

/// FNV-1a over the item with sorted keys: stable across servers and restarts.
fn id(map: &Map<String, Value>) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    hash_value(&mut hash, map);
    u32::try_from(hash % MAX_ID + 1).unwrap_or(1)
}

fn hash_value(hash: &mut u64, map: &Map<String, Value>) {
    let mut keys: Vec<_> = map.iter().collect();
    keys.sort_unstable_by(|left, right| left.0.cmp(right.0));
    for (key, value) in keys {
        for byte in key.bytes().chain([0]).chain(value.to_string().into_bytes()).chain([0]) {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Schema, table and filter of the shapes that are allowed.
fn names(map: &Map<String, Value>) -> Option<(&str, &str, &str)> {
    match (map.get("schema"), map.get("table"), map.get("filter")) {
        (Some(Value::String(schema)), Some(Value::String(table)), Some(Value::String(filter))) => {
            Some((schema, table, filter))
        }
        (Some(Value::String(schema)), Some(Value::String(table)), None) => {
            Some((schema, table, ""))
        }
        (Some(Value::String(schema)), None, None) => Some((schema, "*", "")),
        (None, Some(Value::String(table)), None) => Some(("public", table, "")),
        _ => None,
    }
}

fn no_parameters(map: &Map<String, Value>) -> BindingError {
    let secret = map.contains_key("user_token") || map.contains_key("auth_token");
    BindingError::NoParameters(if secret {
        "<redacted>".to_owned()
    } else {
        inspect::value(&Value::Object(map.clone()))
    })
}

fn select(select: Option<&Value>) -> Result<Option<Vec<Arc<str>>>, BindingError> {
    match select {
        Some(Value::String(_)) => Err(BindingError::SelectNotAList),
        Some(Value::Array(items)) => {
            let columns: Vec<_> = items.iter().filter_map(Value::as_str).map(Arc::from).collect();
            Ok((!columns.is_empty()).then_some(columns))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(item: &str) -> (String, String, String, usize) {
        let binding = Binding::parse(item).unwrap();
        (
            binding.event.name().to_owned(),
            binding.schema.as_str().to_owned(),
            binding.table.as_str().to_owned(),
            binding.filters.len(),
        )
    }

    #[test]
    fn the_allowed_shapes_parse() {
        let is = |event: &str, schema: &str, table: &str, filters| {
            (event.to_owned(), schema.to_owned(), table.to_owned(), filters)
        };
        assert_eq!(
            parsed(r#"{"event":"insert","schema":"s","table":"t","filter":"a=eq.1,b=eq.2"}"#),
            is("INSERT", "s", "t", 2)
        );
        assert_eq!(parsed(r#"{"schema":"s","table":"t"}"#), is("*", "s", "t", 0));
        assert_eq!(parsed(r#"{"event":"EVERYTHING","schema":"s"}"#), is("*", "s", "*", 0));
        assert_eq!(parsed(r#"{"event":"DELETE","table":"t"}"#), is("DELETE", "public", "t", 0));
        assert_eq!(parsed(r#"{"event":7,"schema":"*"}"#), is("*", "*", "*", 0));
    }

    #[test]
    fn other_shapes_are_refused_in_the_known_words() {
        let prefix = "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: ";
        for (item, rest) in [
            ("{}", "%{}"),
            (r#"{"event":"*"}"#, r#"%{"event" => "*"}"#),
            (r#"{"filter":"id=eq.1"}"#, r#"%{"filter" => "id=eq.1"}"#),
            (
                r#"{"table":"t","schema":"s","filter":null}"#,
                r#"%{"filter" => nil, "schema" => "s", "table" => "t"}"#,
            ),
            (r#"{"schema":"s","table":5}"#, r#"%{"schema" => "s", "table" => 5}"#),
            (r#"{"schema":"s","filter":"a=eq.1"}"#, r#"%{"filter" => "a=eq.1", "schema" => "s"}"#),
            (r#"{"user_token":"x"}"#, "<redacted>"),
        ] {
            assert_eq!(Binding::parse(item).unwrap_err().to_string(), format!("{prefix}{rest}"));
        }
    }

    #[test]
    fn select_is_a_list_of_names_for_one_table() {
        let select = |select: &str| {
            Binding::parse(&format!(r#"{{"schema":"s","table":"t","select":{select}}}"#))
                .map(|binding| binding.select)
        };
        assert_eq!(select(r#"["id",5,"a"]"#), Ok(Some(vec![Arc::from("id"), Arc::from("a")])));
        assert_eq!(select("[]"), Ok(None));
        assert_eq!(select("{}"), Ok(None));
        assert_eq!(select("\"id\""), Err(BindingError::SelectNotAList));
        let wildcard = Binding::parse(r#"{"schema":"s","select":["id"]}"#);
        assert_eq!(wildcard, Err(BindingError::SelectWithWildcard));
    }

    #[test]
    fn ids_depend_on_content_only() {
        let id = |item: &str| Binding::parse(item).unwrap().id;
        let one = id(r#"{"schema":"s","table":"t"}"#);
        assert_eq!(one, id(r#"{ "table" : "t", "schema" : "s" }"#));
        assert_ne!(one, id(r#"{"schema":"s","table":"u"}"#));
        assert!((1..1 << 27).contains(&one));
    }

    #[test]
    fn reply_entries_echo_the_items() {
        let item = r#"{"table":"t", "schema":"s","event":"*"}"#;
        let id = Binding::parse(item).unwrap().id;
        assert_eq!(
            reply_entries([item, "null", " {} "]),
            format!(
                r#"[{{"table":"t", "schema":"s","event":"*","id":{id}}},{{"id":{}}}]"#,
                super::id(&Map::new())
            )
        );
        assert_eq!(reply_entries([]), "[]");
    }

    #[test]
    fn a_legacy_topic_names_schema_table_and_filter() {
        assert_eq!(legacy_item("any"), r#"{"schema":"any"}"#);
        let item = legacy_item("public:t:a=eq.x:y");
        let binding = Binding::parse(&item).unwrap();
        assert_eq!((binding.schema.as_str(), binding.table.as_str()), ("public", "t"));
        assert_eq!(&*binding.filters[0].value, "x:y");
    }

    #[test]
    fn a_binding_prints_as_error_messages_show_it() {
        let item = r#"{"event":"UPDATE","schema":"public","table":"t","filter":"id=eq.1,name=not.eq.x","select":["id"]}"#;
        assert_eq!(
            inspect::binding(&Binding::parse(item).unwrap()),
            r#"[event: UPDATE, schema: public, table: t, filters: [{"id", "eq", "1", false}, {"name", "eq", "x", true}], select: ["id"]]"#
        );
    }
}
