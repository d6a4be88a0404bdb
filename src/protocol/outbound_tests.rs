//! Every message the server sends, in every form it has, in one picture.
//!
//! A change of this snapshot is a change of the wire: clients see it.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{
    Vsn,
    message::{Encoding, Ref, UserBroadcast},
    prepared::{Fanout, Frame},
    reply,
    system::{self, Extension, Status},
};

const TOPIC: &str = "realtime:room";

fn show(frame: Option<Frame>) -> String {
    match frame {
        None => "not sent".to_owned(),
        Some(Frame::Text(text)) => String::from_utf8(text.to_vec()).unwrap(),
        Some(Frame::Binary(bytes)) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            hex.join(" ")
        }
    }
}

fn json(event: &'static str, payload: &'static str) -> Fanout {
    Fanout::Json { event, payload: Bytes::from_static(payload.as_bytes()) }
}

fn user(encoding: Encoding, payload: &'static [u8], meta: &str) -> Fanout {
    let payload = Bytes::from_static(payload);
    let broadcast = UserBroadcast { event: "hi".to_owned(), encoding, payload };
    Fanout::User { broadcast, meta: meta.to_owned() }
}

#[test]
fn the_wire_has_not_changed() {
    let (one, seven) = (Ref::string("1"), Ref::string("7"));
    let system = |who, status| system::payload(who, status, "text", "room");
    type Make<'a> = Box<dyn Fn(Vsn) -> Option<Frame> + 'a>;
    let frames: Vec<(&str, Make<'_>)> = vec![
        ("reply ok", Box::new(|v| Some(reply::ok(v, &one, &seven, TOPIC, "{}")))),
        (
            "reply to a join",
            Box::new(|v| Some(reply::ok(v, &one, &one, TOPIC, r#"{"postgres_changes":[]}"#))),
        ),
        (
            "reply error",
            Box::new(|v| Some(reply::error(v, &one, &seven, TOPIC, r#""payload_size_exceeded""#))),
        ),
        (
            "refusal",
            Box::new(|v| Some(reply::refused(v, &Ref::NULL, &seven, TOPIC, "unmatched topic"))),
        ),
        ("heartbeat", Box::new(|v| Some(reply::ok(v, &Ref::NULL, &seven, "phoenix", "{}")))),
        ("close", Box::new(|v| Some(reply::close(v, &one, TOPIC)))),
        (
            "system of the channel",
            Box::new(|v| {
                let payload = system(Extension::System, Status::Error);
                Some(reply::push(v, &one, TOPIC, "system", &payload))
            }),
        ),
        (
            "system of changes",
            Box::new(|v| {
                let payload = system(Extension::PostgresChanges, Status::Ok);
                Some(reply::push(v, &one, TOPIC, "system", &payload))
            }),
        ),
        (
            "presence state",
            Box::new(|v| Some(reply::push(v, &one, TOPIC, "presence_state", b"{}"))),
        ),
        (
            "presence diff",
            Box::new(|v| json("presence_diff", r#"{"joins":{},"leaves":{}}"#).encode(v, TOPIC)),
        ),
        (
            "broadcast in JSON",
            Box::new(|v| json("broadcast", r#"{"event":"hi","x":1}"#).encode(v, TOPIC)),
        ),
        ("broadcast of a text", Box::new(|v| json("broadcast", r#""text""#).encode(v, TOPIC))),
        (
            "user broadcast in JSON",
            Box::new(|v| user(Encoding::Json, br#"{"n":1}"#, "").encode(v, TOPIC)),
        ),
        (
            "user broadcast in JSON with metadata",
            Box::new(|v| user(Encoding::Json, br#"{"n":1}"#, r#"{"id":"x"}"#).encode(v, TOPIC)),
        ),
        (
            "user broadcast in bytes",
            Box::new(|v| user(Encoding::Binary, &[0xca, 0xfe], "").encode(v, TOPIC)),
        ),
        (
            "binary push",
            Box::new(|v| {
                let data = Bytes::from_static(&[1, 2]);
                Fanout::Raw { event: "broadcast", data }.encode(v, TOPIC)
            }),
        ),
    ];
    let mut picture = String::new();
    for (name, make) in frames {
        let (v1, v2) = (show(make(Vsn::V1)), show(make(Vsn::V2)));
        let _ = writeln!(picture, "{name}\n  v1  {v1}\n  v2  {v2}");
    }
    insta::assert_snapshot!(picture);
}
