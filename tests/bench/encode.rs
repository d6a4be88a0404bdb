//! Frames: encoding once and sharing, against encoding for every receiver.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use bytes::Bytes;
use divan::{Bencher, black_box};
use rowcast::{
    postgres::value::{TypeShape, write_json},
    protocol::{Vsn, prepared::Fanout},
};

fn main() {
    divan::main();
}

const RECEIVERS: usize = 1000;

fn message() -> Fanout {
    let payload = format!(r#"{{"event":"e","payload":{{"text":"{}"}}}}"#, "x".repeat(500));
    Fanout::Json { event: "broadcast", payload: Bytes::from(payload) }
}

#[divan::bench(args = [false, true])]
fn once_and_shared(bencher: Bencher<'_, '_>, second: bool) {
    let message = message();
    let vsn = if second { Vsn::V2 } else { Vsn::V1 };
    bencher.bench(|| {
        let frame = message.encode(vsn, black_box("realtime:room")).unwrap();
        (0..RECEIVERS).map(|_| frame.clone()).collect::<Vec<_>>()
    });
}

#[divan::bench]
fn for_every_receiver(bencher: Bencher<'_, '_>) {
    let message = message();
    bencher.bench(|| {
        let frame = || message.encode(Vsn::V2, black_box("realtime:room")).unwrap();
        (0..RECEIVERS).map(|_| frame()).collect::<Vec<_>>()
    });
}

#[divan::bench(args = ["9223372036854775807", "2024-05-06 07:08:09.123456+00", "plain text"])]
fn value_to_json(bencher: Bencher<'_, '_>, text: &str) {
    let shape = match text.as_bytes() {
        [b'9', ..] => TypeShape::Number,
        [b'2', ..] => TypeShape::TimestampTz,
        _ => TypeShape::Text,
    };
    bencher.with_inputs(|| Vec::with_capacity(64)).bench_values(|mut out| {
        write_json(&shape, black_box(text.as_bytes()), &mut out);
        out
    });
}
