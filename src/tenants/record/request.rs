//! What an operator sends to make or change a tenant.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Defaults, Extension, Faults, POSTGRES, Record, fields::Fields};
use crate::{auth::Jwks, secret::Secret};

const MOST_CHARACTERS: usize = 255;

/// The fields of a request, each in the right form. `Debug` shows their names.
#[derive(Clone)]
pub struct Request {
    external_id: String,
    fields: Map<String, Value>,
}

impl Request {
    /// Reads the body `{"tenant":{…}}` of a request. `path` is the tenant that
    /// the path names, which wins over `external_id` in the body.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn parse(body: &Value, path: Option<&str>) -> Result<Self, Faults> {
        let Some(Value::Object(fields)) = body.get("tenant") else {
            return Err(Faults::of("tenant", "can't be blank"));
        };
        let mut fields = fields.clone();
        if let Some(path) = path {
            fields.insert("external_id".to_owned(), json!(path));
        }
        let mut reading = Fields::new(&fields);
        let external_id = match reading.text("external_id") {
            Some(Some(name)) => name.to_owned(),
            Some(None) => String::new(),
            None if reading.faults.is_empty() => String::new(),
            // Of another type, which is said already.
            None => "?".to_owned(),
        };
        if external_id.is_empty() {
            reading.faults.add("external_id", "can't be blank");
        } else if external_id.chars().count() > MOST_CHARACTERS {
            let text = format!("should be at most {MOST_CHARACTERS} character(s)");
            reading.faults.add("external_id", &text);
        }
        // The values of the defaults do not matter: nothing is kept.
        let defaults = Defaults::from(crate::tenants::Terms::default());
        Record::blank("", &defaults).read(&mut reading, &defaults);
        if reading.faults.is_empty() {
            Ok(Self { external_id, fields })
        } else {
            Err(reading.faults)
        }
    }

    /// Whom it is about.
    pub fn external_id(&self) -> &str {
        &self.external_id
    }

    /// The names of what was sent, for logs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("external_id", &self.external_id)
            .field("fields", &self.names().collect::<Vec<_>>())
            .finish()
    }
}

impl Record {
    /// The tenant that a request makes.
    ///
    /// # Errors
    ///
    /// It has neither a secret nor keys.
    pub fn new(request: &Request, defaults: &Defaults) -> Result<Self, Faults> {
        let mut record = Self::blank(&request.external_id, defaults).changed(request, defaults)?;
        record.name.clone_from(&record.external_id);
        Ok(record)
    }

    /// The tenant after a request: what is not sent stays, null goes back to
    /// `defaults`, and extensions replace all that there were.
    ///
    /// # Errors
    ///
    /// It has neither a secret nor keys.
    pub fn changed(mut self, request: &Request, defaults: &Defaults) -> Result<Self, Faults> {
        let mut fields = Fields::new(&request.fields);
        self.read(&mut fields, defaults);
        if fields.faults.is_empty() && self.jwt_secret.is_none() && self.jwt_jwks.is_none() {
            fields.faults.add("jwt_secret", "either jwt_secret or jwt_jwks must be provided");
        }
        if fields.faults.is_empty() { Ok(self) } else { Err(fields.faults) }
    }

    fn read(&mut self, fields: &mut Fields<'_>, defaults: &Defaults) {
        if let Some(name) = fields.text("name") {
            name.unwrap_or(&self.external_id).clone_into(&mut self.name);
        }
        if let Some(secret) = fields.text("jwt_secret") {
            self.jwt_secret = secret.map(Secret::new);
        }
        if let Some(set) = fields.object("jwt_jwks") {
            // A set that nobody can read would lock the tenant out.
            if set.is_some_and(|set| Jwks::from_map(set).is_err()) {
                fields.invalid("jwt_jwks");
            }
            self.jwt_jwks = set.map(|set| Secret::new(json!(set).to_string()));
        }
        self.read_quotas(fields, defaults);
        let Defaults { terms, .. } = defaults;
        fields.flag("private_only", &mut self.private_only, terms.private_only);
        fields.flag("presence_enabled", &mut self.presence_enabled, terms.presence_enabled);
        fields.flag("suspend", &mut self.suspend, terms.suspended);
        fields.number("migrations_ran", &mut self.migrations_ran, 0);
        match fields.text("broadcast_adapter") {
            None => {}
            Some(None) => "gen_rpc".clone_into(&mut self.broadcast_adapter),
            Some(Some(adapter @ ("gen_rpc" | "phoenix"))) => {
                adapter.clone_into(&mut self.broadcast_adapter);
            }
            Some(Some(_)) => fields.invalid("broadcast_adapter"),
        }
        if let Some(kind) = fields.text("postgres_cdc_default") {
            kind.unwrap_or(POSTGRES).clone_into(&mut self.postgres_cdc_default);
        }
        if let Some(flags) = fields.object("feature_flags") {
            self.feature_flags = flags.cloned().unwrap_or_default();
        }
        match fields.sent.get("extensions") {
            None => {}
            Some(Value::Null) => self.extensions.clear(),
            Some(Value::Array(sent)) => self.read_extensions(fields, sent),
            Some(_) => fields.invalid("extensions"),
        }
    }

    fn read_quotas(&mut self, fields: &mut Fields<'_>, defaults: &Defaults) {
        let usual = Self::blank("", defaults).quotas;
        let now = &mut self.quotas;
        for (name, into, default) in [
            ("max_concurrent_users", &mut now.max_concurrent_users, usual.max_concurrent_users),
            ("max_events_per_second", &mut now.max_events_per_second, usual.max_events_per_second),
            ("max_joins_per_second", &mut now.max_joins_per_second, usual.max_joins_per_second),
            (
                "max_channels_per_client",
                &mut now.max_channels_per_client,
                usual.max_channels_per_client,
            ),
            ("max_bytes_per_second", &mut now.max_bytes_per_second, usual.max_bytes_per_second),
        ] {
            fields.number(name, into, default);
        }
        for (name, into) in [
            ("max_presence_events_per_second", &mut now.max_presence_events_per_second),
            ("max_payload_size_in_kb", &mut now.max_payload_size_in_kb),
            (
                "max_client_presence_events_per_window",
                &mut now.max_client_presence_events_per_window,
            ),
            ("client_presence_window_ms", &mut now.client_presence_window_ms),
        ] {
            fields.optional(name, into);
        }
    }

    fn read_extensions(&mut self, fields: &mut Fields<'_>, sent: &[Value]) {
        let parsed: Vec<_> = sent.iter().map(Extension::parse).collect();
        let twice = |one: &Extension, seen: &[Extension]| seen.iter().any(|e| e.kind == one.kind);
        let (mut extensions, mut faults) = (Vec::new(), Vec::new());
        for parsed in parsed {
            let fault = match parsed {
                Ok(one) if twice(&one, &extensions) => {
                    json!({ "type": ["has already been taken"] })
                }
                Ok(one) => {
                    extensions.push(one);
                    json!({})
                }
                Err(fault) => fault,
            };
            faults.push(fault);
        }
        if extensions.len() < faults.len() {
            fields.faults.set("extensions", Value::Array(faults));
        } else {
            self.extensions = extensions;
        }
    }
}
