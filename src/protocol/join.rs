//! The payload of `phx_join`, read as leniently as the original reads it.
//!
//! A field of a wrong type never refuses a join: it counts as absent and is
//! named in [`Join::ignored`]. The exceptions are the objects `config` and
//! `config.broadcast`, whose shape clients rely on being told about.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::secret::Secret;

/// A join request.
#[derive(Debug, Default)]
pub struct Join {
    /// The token to use for this channel; `None` means the connection's.
    pub token: Option<Secret>,
    /// True for joins without `config`, where the topic names a table.
    pub is_legacy: bool,
    /// RLS authorization wanted, and a namespace of its own.
    pub private: bool,
    /// Broadcast settings.
    pub broadcast: BroadcastConfig,
    /// Presence settings.
    pub presence: PresenceConfig,
    /// Items of `postgres_changes` in request order, nulls left out: JSON text of objects.
    pub changes: Vec<Box<RawValue>>,
    /// The reply is to wait so long at most until the changes are live; `None`
    /// means that it does not wait.
    pub changes_wait: Option<Duration>,
    /// Fields that had a wrong type and were taken as absent.
    pub ignored: Vec<&'static str>,
}

/// `config.broadcast`.
#[derive(Debug, Default)]
pub struct BroadcastConfig {
    /// Reply to each broadcast.
    pub ack: bool,
    /// Deliver own broadcasts back.
    pub own: bool,
    /// Say when broadcasts from the database flow.
    pub replication_ready: bool,
    /// Raw `replay` object, if one was asked for.
    pub replay: Option<Box<RawValue>>,
}

/// `config.presence`.
#[derive(Debug, Default)]
pub struct PresenceConfig {
    /// Push `presence_state` and diffs.
    pub enabled: bool,
    /// The key to track under; `None` means one of the server's choice.
    pub key: Option<String>,
}

/// How long a join waits for its changes where it does not say.
const CHANGES_WAIT: Duration = Duration::from_secs(15);

/// It may ask for no more than this.
const MAX_CHANGES_WAIT: Duration = Duration::from_secs(20);

/// Why a join payload cannot be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The payload is not an object.
    #[error("the join payload must be an object")]
    Payload,
    /// `config` is neither an object nor null.
    #[error("config must be an object")]
    Config,
    /// `config.broadcast` is neither an object nor null.
    #[error("config.broadcast must be an object")]
    Broadcast,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    access_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user_token: Option<&'a RawValue>,
    // Present or not decides the mode, so null must be told from absent.
    #[serde(borrow, default, deserialize_with = "present")]
    config: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Config<'a> {
    #[serde(borrow, default)]
    private: Option<&'a RawValue>,
    #[serde(borrow, default)]
    broadcast: Option<&'a RawValue>,
    #[serde(borrow, default)]
    presence: Option<&'a RawValue>,
    #[serde(borrow, default)]
    postgres_changes: Option<&'a RawValue>,
    #[serde(borrow, default)]
    postgres_changes_options: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct ChangesOptions<'a> {
    #[serde(borrow, default)]
    wait: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timeout: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Broadcast<'a> {
    #[serde(borrow, default)]
    ack: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "self")]
    own: Option<&'a RawValue>,
    #[serde(borrow, default)]
    replication_ready: Option<&'a RawValue>,
    #[serde(borrow, default)]
    replay: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Presence<'a> {
    #[serde(borrow, default)]
    enabled: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
}

impl Join {
    /// Reads the payload of a `phx_join`.
    ///
    /// # Errors
    ///
    /// [`JoinError`] when an object that everything else hangs on is none.
    pub fn parse(payload: &[u8]) -> Result<Self, JoinError> {
        if payload.first() != Some(&b'{') {
            return Err(JoinError::Payload);
        }
        let body: Body<'_> = serde_json::from_slice(payload).map_err(|_| JoinError::Payload)?;
        let mut join = Self { is_legacy: body.config.is_none(), ..Self::default() };
        join.token = join.choose_token(body.access_token, body.user_token);
        if let Some(config) = body.config {
            join.read_config(config)?;
        }
        Ok(join)
    }

    fn read_config(&mut self, config: &RawValue) -> Result<(), JoinError> {
        let config: Config<'_> = object(config).ok_or(JoinError::Config)?;
        self.private = self.flag("private", config.private);
        if let Some(value) = config.broadcast {
            let broadcast: Broadcast<'_> = object(value).ok_or(JoinError::Broadcast)?;
            self.broadcast = BroadcastConfig {
                ack: self.flag("broadcast.ack", broadcast.ack),
                own: self.flag("broadcast.self", broadcast.own),
                replication_ready: broadcast.replication_ready.is_some_and(is_truthy),
                replay: broadcast.replay.map(ToOwned::to_owned),
            };
        }
        if let Some(value) = config.presence {
            let presence: Presence<'_> = object(value).unwrap_or_else(|| {
                self.ignored.push("presence");
                Presence::default()
            });
            self.presence = PresenceConfig {
                enabled: self.flag("presence.enabled", presence.enabled),
                key: presence.key.and_then(|key| self.presence_key(key)),
            };
        }
        if let Some(value) = config.postgres_changes {
            self.changes = items(value).unwrap_or_else(|| {
                self.ignored.push("postgres_changes");
                Vec::new()
            });
        }
        if let Some(value) = config.postgres_changes_options {
            let options: ChangesOptions<'_> = object(value).unwrap_or_else(|| {
                self.ignored.push("postgres_changes_options");
                ChangesOptions::default()
            });
            let wait = self.flag("postgres_changes_options.wait", options.wait);
            let limit = options.timeout.and_then(|value| self.changes_timeout(value));
            self.changes_wait = wait.then(|| limit.unwrap_or(CHANGES_WAIT).min(MAX_CHANGES_WAIT));
        }
        Ok(())
    }

    /// `user_token` wins over `access_token`; a new-style API key is no token.
    fn choose_token(
        &mut self,
        access: Option<&RawValue>,
        user: Option<&RawValue>,
    ) -> Option<Secret> {
        let mut text = |name, value: Option<&RawValue>| {
            let parsed = value.and_then(|value| serde_json::from_str::<String>(value.get()).ok());
            if value.is_some() && parsed.is_none() {
                self.ignored.push(name);
            }
            parsed
        };
        let (access, user) = (text("access_token", access), text("user_token", user));
        let first = access.as_ref().or(user.as_ref());
        if first.is_some_and(|token| token.starts_with("sb_")) {
            return None;
        }
        user.or(access).map(Secret::new)
    }

    fn flag(&mut self, name: &'static str, value: Option<&RawValue>) -> bool {
        let Some(value) = value else { return false };
        match value.get() {
            "true" => true,
            "false" => false,
            text => match serde_json::from_str::<String>(text) {
                Ok(word) if word.eq_ignore_ascii_case("true") => true,
                Ok(word) if word.eq_ignore_ascii_case("false") => false,
                _ => {
                    self.ignored.push(name);
                    false
                }
            },
        }
    }

    /// Milliseconds, more than none.
    fn changes_timeout(&mut self, value: &RawValue) -> Option<Duration> {
        let parsed = serde_json::from_str(value.get()).ok().filter(|millis: &u64| *millis > 0);
        if parsed.is_none() {
            self.ignored.push("postgres_changes_options.timeout");
        }
        parsed.map(Duration::from_millis)
    }

    fn presence_key(&mut self, value: &RawValue) -> Option<String> {
        let key = match value.get().bytes().next() {
            Some(b'"') => serde_json::from_str(value.get()).ok()?,
            Some(b'{' | b'[') => {
                self.ignored.push("presence.key");
                return None;
            }
            _ => value.get().to_owned(),
        };
        (!key.trim().is_empty()).then_some(key)
    }
}

/// An object's members; an explicit null counts as an empty object.
fn object<'a, T: Deserialize<'a> + Default>(value: &'a RawValue) -> Option<T> {
    match value.get().bytes().next() {
        Some(b'n') => Some(T::default()),
        Some(b'{') => serde_json::from_str(value.get()).ok(),
        _ => None,
    }
}

/// The objects of an array without its nulls; `None` if anything else is in it.
fn items(value: &RawValue) -> Option<Vec<Box<RawValue>>> {
    let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
    items
        .into_iter()
        .filter(|item| item.get() != "null")
        .map(|item| item.get().starts_with('{').then(|| item.to_owned()))
        .collect()
}

fn is_truthy(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "false")
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(payload: &str) -> Join {
        Join::parse(payload.as_bytes()).unwrap()
    }

    #[test]
    fn an_empty_config_has_the_defaults() {
        for payload in [r#"{"config":{}}"#, r#"{"config":null}"#] {
            let join = parse(payload);
            assert!(!join.is_legacy && !join.private && !join.broadcast.ack && !join.broadcast.own);
            assert!(!join.presence.enabled && join.presence.key.is_none());
            assert!(join.changes.is_empty() && join.ignored.is_empty());
        }
        assert!(parse("{}").is_legacy);
    }

    #[test]
    fn booleans_may_be_words_in_any_case() {
        let join = parse(
            r#"{"config":{"private":"FALSE","broadcast":{"ack":"true","self":"True"},"presence":{"enabled":true}}}"#,
        );
        assert!(join.broadcast.ack && join.broadcast.own && join.presence.enabled && !join.private);
        assert!(join.ignored.is_empty());
    }

    #[test]
    fn fields_of_a_wrong_type_count_as_absent() {
        let join = parse(
            r#"{"config":{"private":"yes","broadcast":{"ack":3},"presence":{"enabled":"perhaps"},"postgres_changes":"x"},"access_token":5}"#,
        );
        assert!(!join.private && !join.broadcast.ack && !join.presence.enabled);
        assert_eq!(
            join.ignored,
            ["access_token", "private", "broadcast.ack", "presence.enabled", "postgres_changes"]
        );
    }

    #[test]
    fn objects_that_are_none_are_refused() {
        let refused = |payload: &str| Join::parse(payload.as_bytes()).unwrap_err();
        assert_eq!(refused(r#"{"config":"x"}"#), JoinError::Config);
        assert_eq!(refused(r#"{"config":[]}"#), JoinError::Config);
        assert_eq!(refused(r#"{"config":{"broadcast":[]}}"#), JoinError::Broadcast);
        assert_eq!(refused(r#""text""#), JoinError::Payload);
    }

    #[test]
    fn the_user_token_wins_and_api_keys_are_no_tokens() {
        let token = |payload: &str| parse(payload).token.map(|token| token.expose().to_owned());
        assert_eq!(token(r#"{"access_token":"a","user_token":"u"}"#).as_deref(), Some("u"));
        assert_eq!(token(r#"{"access_token":"a"}"#).as_deref(), Some("a"));
        assert_eq!(token(r#"{"access_token":null,"user_token":"sb_x"}"#), None);
        assert_eq!(token(r#"{"access_token":"sb_x","user_token":"u"}"#), None);
    }

    #[test]
    fn presence_keys_are_scalars_and_not_blank() {
        let key = |value: &str| {
            parse(&format!(r#"{{"config":{{"presence":{{"key":{value}}}}}}}"#)).presence.key
        };
        assert_eq!(key("123").as_deref(), Some("123"));
        assert_eq!(key("true").as_deref(), Some("true"));
        assert_eq!(key(r#""é 🙂/x""#).as_deref(), Some("é 🙂/x"));
        for blank in [r#""""#, r#"" ""#, "null", "{}"] {
            assert_eq!(key(blank), None, "{blank}");
        }
    }

    #[test]
    fn a_join_may_wait_for_its_changes_within_bounds() {
        let wait = |options: &str| {
            let config = format!(r#"{{"config":{{"postgres_changes_options":{options}}}}}"#);
            parse(&config).changes_wait.map(|wait| wait.as_millis())
        };
        assert_eq!(wait(r#"{"wait":true}"#), Some(15_000));
        assert_eq!(wait(r#"{"wait":true,"timeout":100}"#), Some(100));
        assert_eq!(wait(r#"{"wait":true,"timeout":60000}"#), Some(20_000));
        for odd in ["0", "-1", "1.5", r#""x""#, "null"] {
            assert_eq!(wait(&format!(r#"{{"wait":true,"timeout":{odd}}}"#)), Some(15_000), "{odd}");
        }
        for none in [r#"{"wait":false}"#, r#"{"timeout":100}"#, "[]", "null"] {
            assert_eq!(wait(none), None, "{none}");
        }
    }

    #[test]
    fn change_items_keep_their_text_and_lose_their_nulls() {
        let join = parse(r#"{"config":{"postgres_changes":[null,{"b" : 1, "a":[2]},null]}}"#);
        let texts: Vec<&str> = join.changes.iter().map(|item| item.get()).collect();
        assert_eq!(texts, [r#"{"b" : 1, "a":[2]}"#]);
        assert!(parse(r#"{"config":{"postgres_changes":[{},1]}}"#).changes.is_empty());
    }
}
