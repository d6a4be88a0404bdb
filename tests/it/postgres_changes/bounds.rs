//! What a tenant and a channel may have.

use std::{sync::Arc, time::Duration};

use rowcast::{
    auth::Keys,
    postgres_changes::{Config, Surplus},
    tenants::{Limits, Tenant, Terms},
};
use serde_json::json;

use super::{Bench, filtered, todos};

fn tenant(max_events_per_second: u64) -> Arc<Tenant> {
    let limits = Limits { max_events_per_second, ..Limits::default() };
    let keys = Keys::new(Some("secret"), None, serde_json::Map::new());
    Arc::new(Tenant::new("test", keys, Terms { limits, ..Terms::default() }))
}

#[tokio::test]
async fn changes_over_the_rate_are_dropped_or_kept_as_the_settings_say() {
    for surplus in [Surplus::Drop, Surplus::Keep] {
        let config = Config { tenant: Some(tenant(1)), surplus, ..Config::default() };
        let bench = Bench::configured(config, "").await;
        let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
        bench.sql("insert into todos select generate_series(1, 400)").await;
        assert_eq!(room.frames(400).await.len(), 400);
        // The rate is averaged over ticks of five seconds.
        tokio::time::sleep(Duration::from_millis(5500)).await;
        bench.sql("insert into todos values (499)").await;
        if surplus == Surplus::Keep {
            assert_eq!(room.frames(1).await.len(), 1);
        } else {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut frames = Vec::new();
            room.outbox.drain(&mut frames);
            assert!(frames.is_empty());
        }
        bench.end().await;
    }
}

#[tokio::test]
async fn good_bindings_are_kept_where_the_settings_say_so() {
    let config = Config { keeps_partial: true, ..Config::default() };
    let bench = Bench::configured(config, "").await;
    let items =
        [filtered("nope=eq.1"), todos("INSERT"), json!({"schema": "public", "table": "no"})];
    let room = bench.subscribe(&items, "anon").await.unwrap();
    let problems = room.registration.problems();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].contains("invalid column for filter nope"), "{}", problems[0]);
    assert!(problems[1].contains("table: no"), "{}", problems[1]);
    bench.sql("insert into todos values (1)").await;
    assert_eq!(room.frames(1).await[0][4]["ids"].as_array().unwrap().len(), 1);
    // Nothing is left of this one.
    assert!(bench.refused(filtered("nope=eq.1"), "anon").await.contains("nope"));
    bench.end().await;
}

#[tokio::test]
async fn bindings_and_conditions_are_bounded() {
    let config = Config { max_bindings: 2, max_filters: 2, ..Config::default() };
    let bench = Bench::configured(config, "").await;
    assert!(bench.subscribe(&[todos("*"), filtered("id=gt.1,id=lt.5")], "anon").await.is_ok());
    let many = bench.subscribe(&[todos("*"), todos("INSERT"), todos("DELETE")], "anon").await;
    let told = many.err().unwrap().message;
    assert_eq!(told, "Too many postgres_changes of one channel. Maximum 2");
    let told = bench.refused(filtered("id=gt.1,id=lt.5,id=neq.3"), "anon").await;
    assert_eq!(told, "Too many conditions in one filter. Maximum 2");
    bench.end().await;
}
