//! What one client may cost.

use super::*;

/// The reason of the next reply.
async fn reason(client: &mut Client) -> Value {
    client.next().await[4]["response"]["reason"].take()
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_no_database_can_hold_is_refused() {
    let (_services, mut client) = open();
    client.join("1", "realtime:a\0", json!({"config": {"private": true}})).await;
    let text = "TopicNameRequired: a channel topic has no zero byte";
    assert_eq!(reason(&mut client).await, text);
    client.join("2", &format!("realtime:{}", "é".repeat(5000)), json!({"config": {}})).await;
    let text = "TopicNameRequired: a channel topic has at most 8192 bytes";
    assert_eq!(reason(&mut client).await, text);
}

#[tokio::test(start_paused = true)]
async fn refused_joins_count_and_too_many_end_the_socket() {
    let limits = Limits { max_joins_per_second: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let mut client = connect(&services, 1000);
    for _ in 0..20 {
        client.join("1", "realtime:", json!({"config": {}})).await;
    }
    for _ in 0..20 {
        assert_eq!(reason(&mut client).await, "TopicNameRequired: You must provide a topic name");
    }
    advance(Duration::from_secs(6)).await;
    client.join("2", "realtime:", json!({"config": {}})).await;
    assert_eq!(reason(&mut client).await, "TopicNameRequired: You must provide a topic name");
    assert_eq!(client.next().await, json!({"closed": 1001}));
}
