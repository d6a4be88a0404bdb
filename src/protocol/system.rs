//! `system` messages: what the server says about a channel.

/// Who speaks in a system message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// The channel itself.
    System,
    /// Its database subscriptions.
    PostgresChanges,
}

/// Whether it is good news. Several clients rejoin on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Works.
    Ok,
    /// Does not.
    Error,
}

/// Payload for every channel of a socket that the server closes for its
/// tenant's sake. It names no channel, and it is no error: clients reconnect.
pub const DISCONNECT: &[u8] =
    br#"{"extension":"system","status":"ok","message":"Server requested disconnect"}"#;

/// What a channel is told that may no longer receive anything.
pub fn lost_access(sub_topic: &str) -> String {
    format!("You no longer have permission to read from this Channel topic: {sub_topic}")
}

/// JSON text of the payload; `sub_topic` is the channel's name without `realtime:`.
pub fn payload(extension: Extension, status: Status, message: &str, sub_topic: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 + message.len() + sub_topic.len());
    out.extend_from_slice(match extension {
        Extension::System => br#"{"extension":"system","status":"#.as_slice(),
        Extension::PostgresChanges => br#"{"extension":"postgres_changes","status":"#,
    });
    out.extend_from_slice(match status {
        Status::Ok => br#""ok","message":"#.as_slice(),
        Status::Error => br#""error","message":"#,
    });
    super::write_string(&mut out, message);
    out.extend_from_slice(br#","channel":"#);
    super::write_string(&mut out, sub_topic);
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_members_are_strings() {
        let text = payload(Extension::PostgresChanges, Status::Error, "a \"b\"", "room:1");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            r#"{"extension":"postgres_changes","status":"error","message":"a \"b\"","channel":"room:1"}"#
        );
    }
}
