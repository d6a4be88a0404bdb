//! Fields of a request, read as leniently as the original reads them: unknown
//! ones are ignored, numbers and flags may be texts, an empty text is none.

use serde_json::{Map, Value, json};

/// What is wrong with a request: for each field a list of texts, and for
/// `extensions` one object for each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Map<String, Value>);

impl Faults {
    /// One fault of one field.
    pub fn of(field: &str, text: &str) -> Self {
        let mut faults = Self::default();
        faults.add(field, text);
        faults
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults as an object, for the `errors` of a 422.
    pub fn into_fields(self) -> Map<String, Value> {
        self.0
    }

    /// Notes what is wrong with a field.
    pub(super) fn add(&mut self, field: &str, text: &str) {
        match self.0.get_mut(field) {
            Some(Value::Array(texts)) => texts.push(json!(text)),
            _ => self.set(field, json!([text])),
        }
    }

    /// Notes what is wrong within a field.
    pub(super) fn set(&mut self, field: &str, faults: Value) {
        self.0.insert(field.to_owned(), faults);
    }
}

/// The fields that were sent, and what was found wrong with them.
pub(super) struct Fields<'a> {
    pub(super) sent: &'a Map<String, Value>,
    pub(super) faults: Faults,
}

impl<'a> Fields<'a> {
    pub(super) fn new(sent: &'a Map<String, Value>) -> Self {
        Self { sent, faults: Faults::default() }
    }

    pub(super) fn invalid(&mut self, name: &str) {
        self.faults.add(name, "is invalid");
    }

    /// A number that is always there; null goes back to `default`.
    pub(super) fn number(&mut self, name: &str, into: &mut i32, default: i32) {
        let mut value = Some(*into);
        self.optional(name, &mut value);
        *into = value.unwrap_or(default);
    }

    /// A number that may be null.
    pub(super) fn optional(&mut self, name: &str, into: &mut Option<i32>) {
        *into = match self.sent.get(name) {
            None => return,
            Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(value) => match whole(value) {
                Some(number) => Some(number),
                None => return self.invalid(name),
            },
        };
    }

    /// A flag; null goes back to `default`.
    pub(super) fn flag(&mut self, name: &str, into: &mut bool, default: bool) {
        *into = match self.sent.get(name) {
            None => return,
            Some(Value::Null) => default,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => match text.as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                "" => default,
                _ => return self.invalid(name),
            },
            Some(_) => return self.invalid(name),
        };
    }

    /// A text as it was sent: nothing was, or nothing is to be.
    pub(super) fn text(&mut self, name: &str) -> Option<Option<&'a str>> {
        match self.sent.get(name)? {
            Value::Null => Some(None),
            Value::String(text) if text.trim().is_empty() => Some(None),
            // What PostgreSQL cannot keep.
            Value::String(text) if !text.contains('\0') => Some(Some(text)),
            _ => {
                self.invalid(name);
                None
            }
        }
    }

    /// An object as it was sent: nothing was, or nothing is to be.
    pub(super) fn object(&mut self, name: &str) -> Option<Option<&'a Map<String, Value>>> {
        match self.sent.get(name)? {
            Value::Null => Some(None),
            Value::Object(object) => Some(Some(object)),
            _ => {
                self.invalid(name);
                None
            }
        }
    }
}

fn whole(value: &Value) -> Option<i32> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    i32::try_from(number).ok()
}
