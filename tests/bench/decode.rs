//! pgoutput: how many bytes a second become changes.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use bytes::{BufMut as _, Bytes, BytesMut};
use divan::{Bencher, black_box, counter::BytesCount};
use rowcast::postgres::pgoutput;

fn main() {
    divan::main();
}

/// An insert into a table of so many text columns.
fn insert(columns: u16) -> Bytes {
    let mut out = BytesMut::from(&b"I\0\0\x40\0N"[..]);
    out.put_u16(columns);
    for _ in 0..columns {
        out.put_u8(b't');
        out.put_u32(24);
        out.put_slice(b"twenty four bytes a cell");
    }
    out.freeze()
}

#[divan::bench(args = [2, 8, 64])]
fn insert_message(bencher: Bencher<'_, '_>, columns: u16) {
    let message = insert(columns);
    bencher
        .counter(BytesCount::new(message.len()))
        .bench(|| pgoutput::decode(black_box(&message)).unwrap());
}
