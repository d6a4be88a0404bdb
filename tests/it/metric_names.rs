//! What the documentation, the dashboard and the alerts speak of is on the page
//! of a running server, and the documentation knows all that is on it.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    rooms::{World, user},
    support::{client::Client, eventually, redis::Redis, tokens::signed},
};

const STARTS: [&str; 4] = ["realtime_", "phoenix_", "osmon_", "process_"];

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
        .filter(|word| STARTS.iter().any(|start| word.starts_with(start)) && !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// The queries of a dashboard.
fn queries(dashboard: &Value) -> String {
    match dashboard {
        Value::Array(items) => items.iter().map(queries).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) if name == "expr" || name == "query" => text.clone(),
                value => queries(value),
            })
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    }
}

/// Names of series, and of the histograms that they are parts of.
fn series(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut histograms = Vec::new();
    for line in page.lines() {
        if let Some((name, "histogram")) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            histograms.push(name.to_owned());
        } else if !line.starts_with('#') {
            let end = line.find(['{', ' ']).unwrap_or(line.len());
            found.insert(line[..end].to_owned());
        }
    }
    found.extend(histograms);
    found
}

fn documented() -> BTreeSet<String> {
    let page = file("docs/operations.md");
    let (_, rest) = page.split_once("<!-- metrics -->").unwrap();
    let (table, _) = rest.split_once("<!-- /metrics -->").unwrap();
    // Descriptions may name others.
    names(&table.lines().filter_map(|line| line.split('|').nth(1)).collect::<Vec<_>>().join(" "))
}

/// Does what it takes for every number to be there.
async fn use_everything(world: &World) {
    let (ann, ben) = (user("Ann"), user("Ben"));
    let room = world.room(&[&ann, &ben]).await;
    let message = json!({ "id": uuid::Uuid::new_v4(), "content": "secret" });
    world.done(&ann, "POST", &format!("/rooms/{room}/messages"), message).await;
    let mut client = Client::connect(&world.server).await;
    client.join("realtime:a", json!({})).await;
    client.ask_join("realtime:b", json!({ "private": true })).await;
    world.run("insert into realtime.messages (topic, extension) values ('a', 'broadcast')").await;
}

#[tokio::test]
async fn every_metric_that_is_spoken_of_exists_and_is_documented() {
    let redis = Redis::start(&[]).await;
    let world = World::start_with(&[("ROWCAST_REDIS_URL", &redis.url())]).await;
    use_everything(&world).await;
    let authorization = format!("Bearer {}", signed(json!({})));
    let documented = documented();
    assert!(documented.len() > 50, "{documented:?}");
    let dashboard = serde_json::from_str(&file("deploy/grafana/rowcast.json")).unwrap();
    let drawn = names(&queries(&dashboard));
    let alerts = names(&file("deploy/prometheus/alerts.yml"));
    assert!(drawn.len() > 40 && alerts.len() > 10, "{drawn:?} {alerts:?}");
    let wanted: BTreeSet<String> =
        [&documented, &drawn, &alerts].into_iter().flatten().cloned().collect();
    let mut missing = Vec::new();
    let page = eventually("all numbers are there", async || {
        let page = world.server.get("/metrics", &[("Authorization", &authorization)]).await?.body;
        let there = series(&page);
        let now: Vec<String> = wanted.difference(&there).cloned().collect();
        if now != missing {
            eprintln!("missing: {now:?}");
            missing = now;
        }
        missing.is_empty().then_some(page)
    })
    .await;
    assert!(!page.contains("secret"));
    let parts = ["_bucket", "_sum", "_count"];
    let unknown: Vec<String> = series(&page)
        .into_iter()
        .filter(|name| {
            let whole = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            !documented.contains(name) && !documented.contains(whole)
        })
        .collect();
    assert!(unknown.is_empty(), "not in docs/operations.md: {unknown:?}");
}
