//! Frames a channel sends about itself: replies, closes, pushes.

use super::{
    Vsn,
    message::Ref,
    prepared::{self, Frame},
};

/// `phx_reply` with status `ok`; `response` is JSON text.
pub fn ok(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &str, response: &str) -> Frame {
    reply(vsn, join_ref, reference, topic, "ok", response)
}

/// `phx_reply` with status `error`; `response` is JSON text.
pub fn error(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &str, response: &str) -> Frame {
    reply(vsn, join_ref, reference, topic, "error", response)
}

/// `phx_reply` with status `error` and `{"reason": reason}`.
pub fn refused(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &str, reason: &str) -> Frame {
    let mut response = br#"{"reason":"#.to_vec();
    super::write_string(&mut response, reason);
    response.push(b'}');
    reply_bytes(vsn, join_ref, reference, topic, "error", &response)
}

/// `phx_close`: an orderly end. Both references are the join's own `join_ref`.
pub fn close(vsn: Vsn, join_ref: &Ref, topic: &str) -> Frame {
    prepared::text(vsn, join_ref, join_ref, topic, "phx_close", b"{}")
}

/// `phx_error`: an end that its client is to mend by joining again.
pub fn crash(vsn: Vsn, join_ref: &Ref, topic: &str) -> Frame {
    prepared::text(vsn, join_ref, join_ref, topic, "phx_error", b"{}")
}

/// A message the channel itself pushes: its `join_ref` and no `ref`.
pub fn push(vsn: Vsn, join_ref: &Ref, topic: &str, event: &str, payload: &[u8]) -> Frame {
    prepared::text(vsn, join_ref, &Ref::NULL, topic, event, payload)
}

fn reply(
    vsn: Vsn,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    status: &str,
    response: &str,
) -> Frame {
    reply_bytes(vsn, join_ref, reference, topic, status, response.as_bytes())
}

fn reply_bytes(
    vsn: Vsn,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    status: &str,
    response: &[u8],
) -> Frame {
    let mut payload = Vec::with_capacity(32 + response.len());
    payload.extend_from_slice(br#"{"status":""#);
    payload.extend_from_slice(status.as_bytes());
    payload.extend_from_slice(br#"","response":"#);
    payload.extend_from_slice(response);
    payload.push(b'}');
    prepared::text(vsn, join_ref, reference, topic, "phx_reply", &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(frame: impl Fn(Vsn) -> Frame) -> (String, String) {
        let text = |vsn| match frame(vsn) {
            Frame::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Frame::Binary(_) => panic!("a reply is text"),
        };
        (text(Vsn::V1), text(Vsn::V2))
    }

    #[test]
    fn replies_carry_the_refs_their_version_has() {
        let (v1, v2) =
            both(|vsn| ok(vsn, &Ref::string("1"), &Ref::string("2"), "realtime:a", "{}"));
        assert_eq!(
            v1,
            r#"{"topic":"realtime:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"2"}"#
        );
        assert_eq!(v2, r#"["1","2","realtime:a","phx_reply",{"status":"ok","response":{}}]"#);
    }

    #[test]
    fn a_refusal_gives_its_reason() {
        let (_, v2) = both(|vsn| refused(vsn, &Ref::NULL, &Ref::string("2"), "x", r#"no "way""#));
        assert_eq!(
            v2,
            r#"[null,"2","x","phx_reply",{"status":"error","response":{"reason":"no \"way\""}}]"#
        );
    }

    #[test]
    fn a_close_carries_the_join_ref_twice() {
        let (v1, v2) = both(|vsn| close(vsn, &Ref::string("7"), "realtime:a"));
        assert_eq!(v1, r#"{"topic":"realtime:a","event":"phx_close","payload":{},"ref":"7"}"#);
        assert_eq!(v2, r#"["7","7","realtime:a","phx_close",{}]"#);
    }

    #[test]
    fn a_push_has_no_ref() {
        let (v1, v2) =
            both(|vsn| push(vsn, &Ref::string("7"), "realtime:a", "presence_state", b"{}"));
        assert_eq!(
            v1,
            r#"{"topic":"realtime:a","event":"presence_state","payload":{},"ref":null}"#
        );
        assert_eq!(v2, r#"["7",null,"realtime:a","presence_state",{}]"#);
    }
}
