//! Entry points for the fuzzers: every parser of bytes that come from outside.
//!
//! Each takes any bytes and must return. What it returns is nobody's business
//! here; where a value can be checked against itself, it is.

use bytes::Bytes;

use crate::{
    auth::jwt::Keys,
    postgres::pgoutput,
    protocol::{self, Received, Vsn, join::Join},
};

/// A text frame of version 1, and the join in it.
pub fn v1_text(data: &[u8]) {
    frame(Vsn::V1, &Received::Text(Bytes::copy_from_slice(data)));
}

/// A text frame of version 2, and the join in it.
pub fn v2_text(data: &[u8]) {
    frame(Vsn::V2, &Received::Text(Bytes::copy_from_slice(data)));
}

/// A binary frame of version 2.
pub fn v2_binary(data: &[u8]) {
    frame(Vsn::V2, &Received::Binary(Bytes::copy_from_slice(data)));
}

fn frame(vsn: Vsn, received: &Received) {
    if let Ok(message) = protocol::decode(vsn, received)
        && let protocol::message::Payload::Json(payload) = &message.payload
    {
        let _ = Join::parse(payload);
        let _ = protocol::size::exceeds(payload, 64);
    }
}

/// A replication frame, and the message in it.
pub fn wire_frame(data: &[u8]) {
    let frame = pgoutput::Frame::decode(&Bytes::copy_from_slice(data));
    if let Ok(pgoutput::Frame::Data { message, .. }) = frame {
        let _ = pgoutput::decode(&message);
    }
}

/// A message of pgoutput.
pub fn pgoutput_message(data: &[u8]) {
    let _ = pgoutput::decode(&Bytes::copy_from_slice(data));
}

/// A token.
pub fn jwt(data: &[u8]) {
    let keys = Keys::new("secret", serde_json::Map::new());
    let token = String::from_utf8_lossy(data);
    let _ = keys.verify(&token, 0);
    let _ = keys.verify_operator(&token, 0);
}
