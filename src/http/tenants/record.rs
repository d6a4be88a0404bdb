//! A tenant as operators see and change it. Pure.
//!
//! Null means the server's own setting. What an operator sends is read as
//! leniently as the original reads it: unknown fields are ignored, numbers and
//! flags may be texts, a negative limit allows nothing.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::tenants::Terms;

/// Fields of the resource that this server takes from its settings only.
const FIXED: &[&str] = &["jwt_secret", "jwt_jwks", "extensions"];

/// What is kept of a tenant beside its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// The terms in force.
    pub(super) terms: Terms,
    /// As it was set; null until then.
    presence_calls: Option<u32>,
    /// In milliseconds; null until it was set.
    presence_window: Option<u64>,
}

impl Record {
    /// A tenant as the settings make it.
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, presence_calls: None, presence_window: None }
    }

    /// The record after a change; `defaults` are what null stands for.
    ///
    /// # Errors
    ///
    /// The fields that are wrong, each with what is wrong with it.
    pub(super) fn changed(
        mut self,
        changes: &Map<String, Value>,
        defaults: &Terms,
    ) -> Result<Self, Map<String, Value>> {
        let mut fields = Fields { changes, faults: Map::new() };
        for name in FIXED.iter().filter(|name| changes.contains_key(**name)) {
            fields.fault(name, "is set in the server's settings");
        }
        let (limits, usual) = (&mut self.terms.limits, &defaults.limits);
        let users = &mut limits.max_concurrent_users;
        fields.number("max_concurrent_users", users, usual.max_concurrent_users);
        let events = &mut limits.max_events_per_second;
        fields.number("max_events_per_second", events, usual.max_events_per_second);
        let joins = &mut limits.max_joins_per_second;
        fields.number("max_joins_per_second", joins, usual.max_joins_per_second);
        let channels = &mut limits.max_channels_per_client;
        fields.number("max_channels_per_client", channels, usual.max_channels_per_client);
        let presence = &mut limits.max_presence_events_per_second;
        let usual_presence = usual.max_presence_events_per_second;
        fields.number("max_presence_events_per_second", presence, usual_presence);
        let payload = &mut limits.max_payload_size_in_kb;
        fields.number("max_payload_size_in_kb", payload, usual.max_payload_size_in_kb);
        // Kept by nobody, since nothing enforces it.
        fields.number("max_bytes_per_second", &mut 0_u64, 0);
        fields.optional("max_client_presence_events_per_window", &mut self.presence_calls);
        fields.optional("client_presence_window_ms", &mut self.presence_window);
        limits.client_presence_max_calls =
            self.presence_calls.unwrap_or(usual.client_presence_max_calls);
        limits.client_presence_window =
            self.presence_window.map_or(usual.client_presence_window, Duration::from_millis);
        fields.flag("private_only", &mut self.terms.private_only, defaults.private_only);
        let presence = &mut self.terms.presence_enabled;
        fields.flag("presence_enabled", presence, defaults.presence_enabled);
        fields.flag("suspend", &mut self.terms.suspended, defaults.suspended);
        if fields.faults.is_empty() { Ok(self) } else { Err(fields.faults) }
    }

    /// The resource, without what never changes.
    pub(super) fn resource(&self) -> Map<String, Value> {
        let Terms { limits, private_only, presence_enabled, suspended } = &self.terms;
        let value = json!({
            "max_concurrent_users": limits.max_concurrent_users,
            "max_channels_per_client": limits.max_channels_per_client,
            "max_events_per_second": limits.max_events_per_second,
            "max_joins_per_second": limits.max_joins_per_second,
            "max_presence_events_per_second": limits.max_presence_events_per_second,
            "max_payload_size_in_kb": limits.max_payload_size_in_kb,
            "max_client_presence_events_per_window": self.presence_calls,
            "client_presence_window_ms": self.presence_window,
            "private_only": private_only,
            "presence_enabled": presence_enabled,
            "suspend": suspended,
        });
        match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

/// The fields of a change and what was found wrong with them.
struct Fields<'a> {
    changes: &'a Map<String, Value>,
    faults: Map<String, Value>,
}

impl Fields<'_> {
    fn fault(&mut self, name: &str, text: &str) {
        self.faults.insert(name.to_owned(), json!([text]));
    }

    fn number<T: TryFrom<u64>>(&mut self, name: &str, into: &mut T, default: T) {
        let mut value = None;
        match self.changes.get(name) {
            None => return,
            Some(_) => self.optional(name, &mut value),
        }
        *into = value.unwrap_or(default);
    }

    fn optional<T: TryFrom<u64>>(&mut self, name: &str, into: &mut Option<T>) {
        let number = match self.changes.get(name) {
            None => return,
            Some(Value::Null) => {
                *into = None;
                return;
            }
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let number = number.and_then(|number| T::try_from(u64::try_from(number).unwrap_or(0)).ok());
        match number {
            Some(number) => *into = Some(number),
            None => self.fault(name, "is invalid"),
        }
    }

    fn flag(&mut self, name: &str, into: &mut bool, default: bool) {
        *into = match self.changes.get(name) {
            None => return,
            Some(Value::Null) => default,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "1") => true,
            Some(Value::String(text)) if matches!(text.as_str(), "false" | "0") => false,
            Some(_) => return self.fault(name, "is invalid"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(record: Record, changes: &Value) -> Result<Record, Map<String, Value>> {
        record.changed(changes.as_object().unwrap(), &Terms::default())
    }

    #[test]
    fn what_is_sent_changes_and_null_restores() {
        let record = Record::new(Terms::default());
        let changes = json!({
            "max_joins_per_second": 7, "max_concurrent_users": "8", "max_payload_size_in_kb": -1,
            "suspend": true, "private_only": "true", "client_presence_window_ms": 1000, "other": {},
        });
        let changed = change(record, &changes).unwrap();
        let Terms { limits, private_only, suspended, .. } = changed.terms;
        assert_eq!((limits.max_joins_per_second, limits.max_concurrent_users), (7, 8));
        assert_eq!((limits.max_payload_size_in_kb, private_only, suspended), (0, true, true));
        assert_eq!(limits.client_presence_window, Duration::from_secs(1));
        assert_eq!(limits.max_events_per_second, 100, "not sent");
        let shown = changed.resource();
        assert_eq!(shown["client_presence_window_ms"], 1000);
        assert_eq!(
            (&shown["suspend"], &shown["max_payload_size_in_kb"]),
            (&json!(true), &json!(0))
        );
        assert_eq!(shown["max_presence_events_per_second"], 1000);
        let names = changes.as_object().unwrap().keys().map(|name| (name.clone(), Value::Null));
        assert_eq!(change(changed, &Value::Object(names.collect())), Ok(record));
    }

    #[test]
    fn wrong_fields_are_named_and_nothing_changes() {
        let record = Record::new(Terms::default());
        let changes = json!({"max_joins_per_second": "many", "suspend": 5, "jwt_secret": "x"});
        let faults = change(record, &changes).unwrap_err();
        assert_eq!(
            Value::Object(faults),
            json!({
                "max_joins_per_second": ["is invalid"],
                "suspend": ["is invalid"],
                "jwt_secret": ["is set in the server's settings"],
            })
        );
    }
}
