//! Tests of what requests make of tenants.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn defaults() -> Defaults {
    Defaults::from(Terms::default())
}

fn settings() -> Value {
    json!({
        "region": "us-east-1", "db_host": "db.test", "db_port": "5432", "db_name": "app",
        "db_user": "supabase_admin", "db_password": "hunter2", "ssl_enforced": false,
    })
}

fn body(more: Value) -> Value {
    let mut tenant = json!({
        "external_id": "t", "jwt_secret": "hunter3",
        "extensions": [{ "type": "postgres_cdc_rls", "settings": settings() }],
    });
    let Value::Object(more) = more else { panic!("an object") };
    tenant.as_object_mut().unwrap().extend(more);
    json!({ "tenant": tenant })
}

fn made(more: Value) -> Record {
    Record::new(&Request::parse(&body(more), None).unwrap(), &defaults()).unwrap()
}

fn changed(record: &Record, fields: &Value) -> Record {
    let request = Request::parse(&json!({ "tenant": fields }), Some("t")).unwrap();
    record.clone().changed(&request, &defaults()).unwrap()
}

fn faults(body: &Value) -> Value {
    Value::Object(Request::parse(body, None).unwrap_err().into_fields())
}

#[test]
fn a_tenant_has_the_defaults_of_the_server() {
    let record = made(json!({ "name": "ignored", "max_concurrent_users": "77" }));
    assert_eq!((&*record.name, record.quotas.max_concurrent_users), ("t", 77));
    let terms = record.terms(&defaults());
    let users = Limits { max_concurrent_users: 77, ..Limits::default() };
    assert_eq!(terms, Terms { limits: users, ..Terms::default() });
    let connect = record.connect().unwrap();
    assert_eq!((&*connect.host, connect.port, &*connect.database), ("db.test", 5432, "app"));
    assert_eq!(connect.password.as_deref(), Some("hunter2"));
    assert_eq!(record.extension().unwrap().publication(), "supabase_realtime");
}

#[test]
fn what_operators_see_is_what_the_original_shows() {
    let extension = json!({
        "type": "postgres",
        "settings": {
            "region": "us-east-1", "db_host": "h", "db_port": "1", "db_name": "n", "db_user": "u",
            "db_password": "p", "ssl_enforced": false, "postgres_changes_pool": 3,
        },
    });
    let record = made(json!({ "extensions": [extension], "max_concurrent_users": 77 }));
    let mut shown = record.resource();
    shown.as_object_mut().unwrap().remove("id").unwrap();
    assert_eq!(
        shown,
        json!({
            "client_presence_window_ms": null,
            "extensions": [{
                "inserted_at": "",
                "settings": {
                    "poll_interval_ms": 100, "poll_max_changes": 100,
                    "poll_max_record_bytes": 1_048_576, "publication": "supabase_realtime",
                    "region": "us-east-1", "slot_name": "supabase_realtime_replication_slot",
                    "ssl_enforced": false, "subcriber_pool_size": 3,
                },
                "type": "postgres_cdc_rls",
                "updated_at": "",
            }],
            "external_id": "t",
            "inserted_at": "",
            "max_channels_per_client": 100,
            "max_client_presence_events_per_window": null,
            "max_concurrent_users": 77,
            "max_events_per_second": 100,
            "max_joins_per_second": 100,
            "name": "t",
            "presence_enabled": false,
            "private_only": false,
        })
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let request = Request::parse(&body(json!({})), None).unwrap();
    let record = made(json!({ "jwt_jwks": { "keys": [{ "kty": "oct", "k": "hunter4" }] } }));
    let printed = format!("{request:?} {record:?} {}", record.resource());
    assert!(!printed.contains("hunter") && !printed.contains("db.test"), "{printed}");
}

#[test]
fn the_originals_messages() {
    assert_eq!(faults(&json!({ "tenant": {} })), json!({ "external_id": ["can't be blank"] }));
    assert_eq!(faults(&json!({})), json!({ "tenant": ["can't be blank"] }));
    assert_eq!(
        faults(&body(json!({ "max_concurrent_users": "many", "suspend": 5, "jwt_jwks": [] }))),
        json!({
            "max_concurrent_users": ["is invalid"], "suspend": ["is invalid"],
            "jwt_jwks": ["is invalid"],
        })
    );
    let some = json!([{ "type": "postgres_cdc_rls", "settings": { "region": "us-east-1" } }]);
    let missing = ["db_host", "db_port", "db_name", "db_user", "db_password"];
    let missing: Vec<_> = missing.iter().map(|name| format!("{name} can't be blank")).collect();
    assert_eq!(
        faults(&body(json!({ "extensions": some }))),
        json!({ "extensions": [{ "settings": missing }] })
    );
    let no_key = Request::parse(&body(json!({ "jwt_secret": null })), None).unwrap();
    let faults = Record::new(&no_key, &defaults()).unwrap_err();
    assert_eq!(
        Value::Object(faults.into_fields()),
        json!({ "jwt_secret": ["either jwt_secret or jwt_jwks must be provided"] })
    );
}

#[test]
fn each_extension_has_its_own_faults() {
    let with = |name: &str, value: Value| {
        let mut settings = settings();
        settings[name] = value;
        json!({ "type": "postgres_cdc_rls", "settings": settings })
    };
    for (extension, fault) in [
        (with("db_port", json!(5432)), json!({ "settings": ["db_port is invalid"] })),
        (with("db_port", json!("many")), json!({ "settings": ["db_port is invalid"] })),
        (with("db_host", json!(" ")), json!({ "settings": ["db_host can't be blank"] })),
        (json!({ "settings": {} }), json!({ "type": ["can't be blank"] })),
        (json!({ "type": "mysql", "settings": {} }), json!({ "type": ["is invalid"] })),
        (json!({ "type": "postgres" }), json!({ "settings": ["can't be blank"] })),
        (with("region", json!("eu")), json!({ "type": ["has already been taken"] })),
        (json!("text"), json!({ "type": ["can't be blank"] })),
    ] {
        let both = json!([with("db_password", json!("")), extension]);
        assert_eq!(
            faults(&body(json!({ "extensions": both }))),
            json!({ "extensions": [{}, fault] })
        );
    }
}

#[test]
fn what_is_sent_changes_and_null_restores() {
    let record = made(json!({}));
    let fields = json!({
        "max_joins_per_second": 7, "max_events_per_second": -1, "private_only": "true",
        "client_presence_window_ms": 1000, "broadcast_adapter": "phoenix", "unknown": [],
        "feature_flags": { "a": true }, "max_presence_events_per_second": 5,
    });
    let other = changed(&record, &fields);
    let terms = other.terms(&defaults());
    assert_eq!((terms.limits.max_joins_per_second, terms.limits.max_events_per_second), (7, 0));
    assert_eq!(terms.limits.client_presence_window, Duration::from_secs(1));
    assert_eq!(terms.limits.max_presence_events_per_second, 5);
    assert!(terms.private_only && other.extensions == record.extensions);
    let nulls = fields.as_object().unwrap().keys().map(|name| (name.clone(), Value::Null));
    let back = changed(&other, &Value::Object(nulls.collect()));
    let same = Quotas { max_presence_events_per_second: None, ..record.quotas };
    assert_eq!((back.quotas, back.private_only), (same, false));
    assert_eq!(back.terms(&defaults()), record.terms(&defaults()));
}

#[test]
fn what_a_change_means_for_a_running_server() {
    let record = made(json!({}));
    let effects = |fields: Value| {
        let Effects { any, drain, restart } = changed(&record, &fields).effects(&record);
        (any, drain, restart)
    };
    assert_eq!(effects(json!({})), (false, false, false));
    assert_eq!(effects(json!({ "max_joins_per_second": 100 })), (false, false, false));
    assert_eq!(effects(json!({ "max_joins_per_second": 7 })), (true, false, false));
    assert_eq!(effects(json!({ "private_only": true })), (true, true, false));
    assert_eq!(effects(json!({ "suspend": true })), (true, true, true));
    assert_eq!(effects(json!({ "jwt_secret": "other" })), (true, true, true));
    assert_eq!(effects(json!({ "jwt_jwks": { "keys": [] } })), (true, true, true));
    let same = json!([{ "type": "postgres", "settings": settings() }]);
    assert_eq!(effects(json!({ "extensions": same })), (false, false, false));
    assert_eq!(effects(json!({ "extensions": [] })), (true, false, true));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("(type|settings|keys|db_host|.{0,4})", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever a request holds, it is read or refused, and reading what was
    /// read again changes nothing.
    #[test]
    fn any_request_is_read_or_refused(
        fields in prop::collection::hash_map(
            "(external_id|jwt_secret|jwt_jwks|extensions|suspend|max_joins_per_second|name)",
            any_json(), 0..6,
        ),
    ) {
        let tenant: Value = Value::Object(fields.into_iter().collect());
        if let Ok(request) = Request::parse(&json!({ "tenant": tenant }), None)
            && let Ok(record) = Record::new(&request, &defaults())
        {
            let again = record.clone().changed(&request, &defaults()).unwrap();
            let renamed = Record { name: record.name.clone(), ..again };
            prop_assert!(!renamed.effects(&record).any);
        }
    }
}
