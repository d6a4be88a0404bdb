//! Filters: reading, compiling, and judging one value by many.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::sync::Arc;

use divan::{Bencher, black_box, counter::ItemsCount};
use rowcast::{
    postgres_changes::filter::{
        ask::Answers,
        compile::{ColumnType, Predicate, Verdict, compile},
        parse::parse,
    },
    replication::change::Value,
};

fn main() {
    divan::main();
}

const SUBSCRIPTIONS: usize = 10_000;

fn column(oid: u32) -> ColumnType {
    ColumnType::builtin(oid, "a type", true)
}

fn predicate(filter: &str, value: &str, oid: u32) -> Predicate {
    let filter = parse(filter).unwrap().remove(0);
    compile(&filter, &column(oid), &[Arc::from(value)]).unwrap()
}

#[divan::bench(args = ["id=eq.1", "a=gt.5,b=in.(x,\"y,z\",w),c=not.like.%tail"])]
fn reading(text: &str) -> usize {
    parse(black_box(text)).unwrap().len()
}

#[divan::bench]
fn compiling() -> Predicate {
    predicate(black_box("id=eq.12345"), "12345", 20)
}

#[divan::bench(args = ["eq", "gt", "neq"])]
fn judging(bencher: Bencher<'_, '_>, operator: &str) {
    let predicates: Vec<Predicate> = (0..SUBSCRIPTIONS)
        .map(|n| predicate(&format!("id={operator}.{n}"), &n.to_string(), 20))
        .collect();
    bencher.counter(ItemsCount::new(SUBSCRIPTIONS)).bench(|| {
        let value = Value::Text(black_box(b"5000"));
        let mut answers = Answers::default();
        predicates.iter().filter(|p| p.judge(value, &mut answers) == Verdict::Holds).count()
    });
}
