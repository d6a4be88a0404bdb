//! The pipeline without a database: rows in, frames out.

use bytes::Bytes;

use super::*;
use crate::{
    hub::outbox::{Item, Outbox},
    postgres::value::TypeShape,
    postgres_changes::{
        catalog::{RoleView, Table, TableColumn},
        deliver::{Row, Rules},
        filter::{ask::Answers, compile::ColumnType},
        row_security::{DeleteVisibility, Questions, Side, Slot, Verdicts},
        subscription::Binding,
    },
    protocol::{Vsn, prepared::Frame},
    replication::{
        change::{Cell, Change, Old, Operation, Tuple},
        relation::{Column, ReplicaIdentity},
    },
    topic::Topic,
};

const RULES: Rules = Rules { max_record_bytes: 1000, deletes: DeleteVisibility::Strict };

const COLUMNS: [(&str, u32, &str, bool); 3] =
    [("id", 23, "int4", true), ("title", 25, "text", false), ("note", 25, "text", false)];

fn relation(version: u64) -> Arc<Relation> {
    let column = |(name, type_oid, _, is_identity): (&str, u32, &str, bool)| Column {
        name: Arc::from(name),
        type_oid,
        type_modifier: -1,
        is_identity,
    };
    Arc::new(Relation {
        oid: 7,
        version,
        schema: Arc::from("public"),
        table: Arc::from("todos"),
        identity: ReplicaIdentity::Default,
        columns: COLUMNS.map(column).into(),
    })
}

fn described(row_security: bool, roles: &[(&str, [bool; 3])]) -> Described {
    let column = |(name, type_oid, type_name, is_key): (&str, u32, &str, bool)| TableColumn {
        name: Arc::from(name),
        type_oid,
        type_name: Arc::from(type_name),
        shape: TypeShape::of_builtin(type_oid).unwrap(),
        filter: ColumnType::builtin(type_oid, type_name, true),
        is_key,
        is_published: true,
    };
    let table = Table {
        oid: 7,
        schema: Arc::from("public"),
        name: Arc::from("todos"),
        row_security,
        columns: COLUMNS.map(column).into(),
        generation: None,
    };
    let view =
        |readable: [bool; 3]| Arc::new(RoleView { exempt: false, readable: readable.to_vec() });
    let roles = roles.iter().map(|(role, readable)| (Arc::from(*role), view(*readable)));
    Described { table: Arc::new(table), roles: roles.collect() }
}

fn tuple(values: [Option<&str>; 3]) -> Tuple {
    let (mut bytes, mut cells) = (Vec::new(), Vec::new());
    for value in values {
        let start = u32::try_from(bytes.len()).unwrap();
        match value {
            Some("<unchanged>") => cells.push(Cell::Unchanged),
            Some(text) => {
                bytes.extend_from_slice(text.as_bytes());
                cells.push(Cell::Text(start..u32::try_from(bytes.len()).unwrap()));
            }
            None => cells.push(Cell::Null),
        }
    }
    Tuple::new(Bytes::from(bytes), cells.into())
}

fn insert(values: [Option<&str>; 3]) -> Operation {
    Operation::Insert { new: tuple(values) }
}

/// A state whose table was described and looked up.
struct World {
    state: State,
    described: Described,
    relation: Arc<Relation>,
}

struct Reader {
    outbox: Arc<Outbox>,
    entry: (u32, u64),
}

impl World {
    fn new(described: Described) -> Self {
        Self { state: State::default(), described, relation: relation(1) }
    }

    fn reader(&mut self, topic: &str, vsn: Vsn, role: &str, items: &[&str], from: u64) -> Reader {
        self.successor(topic, vsn, role, items, from, None)
    }

    fn successor(
        &mut self,
        topic: &str,
        vsn: Vsn,
        role: &str,
        items: &[&str],
        from: u64,
        replaces: Option<(u32, u64)>,
    ) -> Reader {
        let moment = self.state.moment();
        self.attempt(topic, vsn, role, items, from, replaces, moment).unwrap()
    }

    #[expect(clippy::too_many_arguments, reason = "all that an entry depends on")]
    fn attempt(
        &mut self,
        topic: &str,
        vsn: Vsn,
        role: &str,
        items: &[&str],
        from: u64,
        replaces: Option<(u32, u64)>,
        moment: Moment,
    ) -> Result<Reader, Vec<u32>> {
        let outbox = Arc::new(Outbox::new(1 << 20));
        let bindings: Vec<_> = items.iter().map(|item| Binding::parse(item).unwrap()).collect();
        let rules = bindings
            .iter()
            .map(|item| (Arc::new(Rule::new(item, Arc::from(role))), Arc::default()))
            .collect();
        let key = GroupKey {
            topic: Topic::parse(topic).unwrap(),
            vsn,
            legacy: false,
            role: Arc::from(role),
            bindings: bindings.into(),
        };
        let entry = Entry {
            key,
            rules,
            tables: vec![&self.described],
            outbox: Arc::clone(&outbox),
            from: Lsn(from),
            claims: Arc::from("{}"),
            moment,
            ready: Vec::new(),
            replaces,
        };
        let entry = self.state.enter(entry)?;
        Ok(Reader { outbox, entry })
    }

    fn lookup(&mut self) {
        let (roles, ticket) = (self.state.roles(7, Some(&self.relation)), self.state.ticket());
        let found = Some(self.described.clone());
        assert!(self.state.install(7, Some(&self.relation), found, &roles, ticket));
    }

    fn row(&mut self, operation: Operation, commit: u64) {
        if self.state.readiness(&self.relation) == Readiness::Lookup {
            self.lookup();
        }
        let change = Change { relation: Arc::clone(&self.relation), operation };
        let row = Row { change, commit: Lsn(commit), xid: 1, committed_at: 1_767_323_045_678_901 };
        let (rules, verdicts) = (RULES, Verdicts::default());
        // What would have to be judged is not judged here, and so not delivered.
        let (answers, questions) = (&mut Answers::default(), &mut Questions::default());
        self.state.deliver(&row, 0, &rules, &verdicts, answers, questions);
    }
}

impl Reader {
    fn frames(&self) -> Vec<Bytes> {
        let mut frames = Vec::new();
        self.outbox.drain(&mut frames);
        let bytes = |item| match item {
            Item::Frame(Frame::Text(bytes) | Frame::Binary(bytes)) => bytes,
            Item::Shutdown { .. } => panic!("the pipeline shuts nothing down"),
        };
        frames.into_iter().map(bytes).collect()
    }

    fn texts(&self) -> Vec<String> {
        self.frames().iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect()
    }
}

const ALL: &str = r#"{"event":"*","schema":"public","table":"todos"}"#;
const SEEN: [bool; 3] = [true; 3];

fn id(item: &str) -> u32 {
    Binding::parse(item).unwrap().id
}

#[test]
fn the_frames_of_a_row_in_both_versions() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let one = world.reader("realtime:r", Vsn::V1, "anon", &[ALL], 0);
    let two = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0);
    world.row(insert([Some("1"), Some("é"), None]), 5);
    let columns = r#"[{"name":"id","type":"int4"},{"name":"title","type":"text"},{"name":"note","type":"text"}]"#;
    let head = format!(
        r#"{{"ids":[{}],"data":{{"schema":"public","table":"todos","commit_timestamp":"2026-01-02T03:04:05.678Z""#,
        id(ALL)
    );
    let data = format!(
        r#"{head},"type":"INSERT","columns":{columns},"record":{{"id":1,"title":"é","note":null}},"errors":null}}}}"#
    );
    assert_eq!(
        one.texts(),
        [format!(
            r#"{{"topic":"realtime:r","event":"postgres_changes","payload":{data},"ref":null}}"#
        )]
    );
    assert_eq!(two.texts(), [format!(r#"[null,null,"realtime:r","postgres_changes",{data}]"#)]);
    let new = tuple([Some("1"), Some("<unchanged>"), Some("n")]);
    world.row(Operation::Update { old: None, new }, 6);
    let data = format!(
        r#"{head},"type":"UPDATE","columns":{columns},"record":{{"id":1,"note":"n"}},"old_record":{{"id":1}},"errors":null}}}}"#
    );
    assert_eq!(two.texts(), [format!(r#"[null,null,"realtime:r","postgres_changes",{data}]"#)]);
    let old = Old::Key(tuple([Some("1"), None, None]));
    world.row(Operation::Delete { old }, 7);
    let data = format!(
        r#"{head},"type":"DELETE","columns":{columns},"old_record":{{"id":1}},"errors":null}}}}"#
    );
    assert_eq!(two.texts(), [format!(r#"[null,null,"realtime:r","postgres_changes",{data}]"#)]);
}

#[test]
fn only_lookups_of_its_own_tables_keep_a_subscriber_out() {
    let wild = r#"{"event":"*","schema":"public","table":"*"}"#;
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let _all = world.reader("realtime:all", Vsn::V2, "anon", &[wild], 0);
    let moment = world.state.moment();
    let other = Relation { oid: 8, table: Arc::from("other"), ..Relation::clone(&world.relation) };
    let (other, mut found) = (Arc::new(other), world.described.clone());
    found.table =
        Arc::new(Table { oid: 8, name: Arc::from("other"), ..Table::clone(&found.table) });
    let (roles, ticket) = (world.state.roles(8, Some(&other)), world.state.ticket());
    assert!(world.state.install(8, Some(&other), Some(found), &roles, ticket));
    let enter = |world: &mut World, item: &str| {
        world.attempt("realtime:r", Vsn::V2, "anon", &[item], 0, None, moment).is_ok()
    };
    assert!(enter(&mut world, ALL), "another table does not concern it");
    assert!(!enter(&mut world, wild), "it may lack that table");
    world.lookup();
    assert!(!enter(&mut world, ALL));
}

#[test]
fn equal_channels_share_one_encoding() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let readers: Vec<_> =
        (0..3).map(|_| world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0)).collect();
    world.row(insert([Some("1"), None, None]), 5);
    let frames: Vec<_> = readers.iter().map(|reader| reader.frames().remove(0)).collect();
    assert!(frames.iter().all(|frame| frame.as_ptr() == frames[0].as_ptr()));
}

#[test]
fn a_subscriber_gets_no_commit_from_before_it_came() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 10);
    world.row(insert([Some("1"), None, None]), 9);
    assert!(reader.frames().is_empty());
    world.row(insert([Some("2"), None, None]), 10);
    assert_eq!(reader.frames().len(), 1);
    // Positions of another history mean nothing here.
    let epoch = |timeline| Epoch { system_id: 1, timeline, generation: 1 };
    assert!(!world.state.start(epoch(1)));
    assert!(world.state.start(epoch(2)));
    world.row(insert([Some("3"), None, None]), 1);
    assert_eq!(reader.frames().len(), 1);
}

#[test]
fn bindings_that_show_the_same_share_a_message() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let some = r#"{"event":"INSERT","schema":"public","table":"todos","filter":"id=eq.1"}"#;
    let short = r#"{"event":"*","schema":"public","table":"todos","select":["title"]}"#;
    let other = r#"{"event":"*","schema":"public","table":"todos","filter":"id=eq.2"}"#;
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[ALL, some, short, other, ALL], 0);
    world.row(insert([Some("1"), Some("t"), Some("n")]), 5);
    let texts = reader.texts();
    assert_eq!(texts.len(), 2);
    let ids = format!("\"ids\":[{},{},{}]", id(ALL), id(some), id(ALL));
    assert!(texts[0].contains(&ids), "{}", texts[0]);
    assert!(texts[1].contains(&format!("\"ids\":[{}]", id(short))));
    assert!(texts[1].contains(r#""record":{"id":1,"title":"t"}"#));
}

#[test]
fn columns_without_privilege_are_neither_shown_nor_filtered_by() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let by_note = r#"{"schema":"public","table":"todos","filter":"note=eq.n"}"#;
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0);
    let filtered = world.reader("realtime:f", Vsn::V2, "anon", &[by_note], 0);
    world.row(insert([Some("1"), Some("t"), Some("n")]), 5);
    assert_eq!((reader.frames().len(), filtered.frames().len()), (1, 1));
    world.relation = relation(2);
    world.described = described(false, &[("anon", [true, true, false])]);
    world.row(insert([Some("2"), Some("t"), Some("n")]), 6);
    assert!(reader.texts()[0].contains(r#""record":{"id":2,"title":"t"}"#));
    let told = filtered.texts();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("no longer delivered"), "{}", told[0]);
}

#[test]
fn a_role_that_is_gone_sees_nothing_and_is_told() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0);
    world.row(insert([Some("1"), None, None]), 5);
    world.relation = relation(2);
    world.described = described(false, &[]);
    world.row(insert([Some("2"), None, None]), 6);
    let texts = reader.texts();
    assert_eq!(texts.len(), 2);
    assert!(texts[1].contains("\"system\""), "{}", texts[1]);
}

#[test]
fn with_row_security_a_row_waits_for_its_verdict() {
    let mut world = World::new(described(true, &[("anon", SEEN)]));
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0);
    let claimant = {
        let group = world.state.groups.group(reader.entry.0).unwrap();
        group.members[0].claimant.id
    };
    world.lookup();
    let change = |operation| Change { relation: relation(1), operation };
    let mut asked = |change: &Change, rules: &Rules, verdicts: &Verdicts| {
        let row = Row { change: change.clone(), commit: Lsn(5), xid: 1, committed_at: 0 };
        let mut missing = Questions::default();
        let answers = &mut Answers::default();
        let sent = world.state.deliver(&row, 3, rules, verdicts, answers, &mut missing);
        (sent.is_some(), missing.len(), reader.texts())
    };
    let slot = |side| Slot::new(3, side);
    let compatible = Rules { deletes: DeleteVisibility::Compatible, ..RULES };
    let mut none = Verdicts::default();
    let (mut hidden, mut seen) = (Verdicts::default(), Verdicts::default());
    hidden.set(claimant, slot(Side::Current), false);
    seen.set(claimant, slot(Side::Current), true);

    let row = change(insert([Some("1"), None, None]));
    assert_eq!(asked(&row, &RULES, &none), (false, 1, vec![]));
    assert_eq!(asked(&row, &RULES, &hidden), (true, 0, vec![]));
    assert_eq!(asked(&row, &RULES, &seen).2.len(), 1);

    let old = || Old::Full(tuple([Some("1"), Some("was"), None]));
    let row = change(Operation::Delete { old: old() });
    assert_eq!(asked(&row, &RULES, &none), (false, 1, vec![]));
    assert_eq!(asked(&row, &RULES, &hidden), (true, 0, vec![]));
    assert!(asked(&row, &RULES, &seen).2[0].contains(r#""old_record":{"id":1},"#));
    assert!(asked(&row, &compatible, &none).2[0].contains(r#""old_record":{"id":1},"#));

    let new = tuple([Some("1"), Some("is"), None]);
    let row = change(Operation::Update { old: Some(old()), new });
    assert_eq!(asked(&row, &RULES, &none), (false, 2, vec![]));
    let texts = asked(&row, &compatible, &seen).2;
    assert!(texts[0].contains(r#""old_record":{"id":1,"title":"was","note":null}"#));
    seen.set(claimant, slot(Side::Old), false);
    assert!(asked(&row, &RULES, &seen).2[0].contains(r#""old_record":{"id":1},"#));
    seen.set(claimant, slot(Side::Old), true);
    assert!(asked(&row, &RULES, &seen).2[0].contains(r#""title":"was""#));

    none.set(claimant + 1, slot(Side::Current), true);
    let key = Old::Key(tuple([Some("1"), None, None]));
    assert_eq!(asked(&change(Operation::Delete { old: key }), &RULES, &none).2.len(), 1);
}

#[test]
fn who_takes_anothers_place_gets_what_it_would_have_got() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let before = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 3);
    world.row(insert([Some("1"), None, None]), 4);
    // It comes at position 9 while rows before that are still on their way.
    let replaces = Some(before.entry);
    let after = world.successor("realtime:r", Vsn::V2, "anon", &[ALL], 9, replaces);
    world.row(insert([Some("2"), None, None]), 5);
    world.row(insert([Some("3"), None, None]), 10);
    assert_eq!((before.frames().len(), after.frames().len()), (1, 2));
    // Its place is nobody's any more.
    world.state.leave(before.entry.0, before.entry.1);
    let late = world.successor("realtime:r", Vsn::V2, "anon", &[ALL], 12, replaces);
    world.row(insert([Some("4"), None, None]), 11);
    assert_eq!((after.frames().len(), late.frames().len()), (1, 0));
}

#[test]
fn an_unreadable_key_is_an_error_for_all_but_deletes() {
    let mut world = World::new(described(false, &[("anon", [false, true, true])]));
    let filtered = r#"{"schema":"public","table":"todos","filter":"title=eq.x"}"#;
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[filtered], 0);
    world.row(insert([Some("1"), Some("other"), None]), 5);
    let expected = r#""data":{"schema":"public","table":"todos","commit_timestamp":null,"type":"INSERT","columns":[],"record":{},"errors":["Error 401: Unauthorized"]}"#;
    assert!(reader.texts()[0].contains(expected));
    world.row(Operation::Delete { old: Old::Full(tuple([Some("1"), Some("x"), None])) }, 6);
    assert!(reader.texts()[0].contains(r#""old_record":{"title":"x","note":null},"errors":null"#));
}

#[test]
fn large_rows_lose_their_large_values() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0);
    world.row(insert([Some("1"), Some("short"), Some(&"x".repeat(1000))]), 5);
    let expected = r#""record":{"id":1,"title":"short"},"errors":["Error 413: Payload Too Large"]"#;
    assert!(reader.texts()[0].contains(expected));
}

#[test]
fn an_older_lookup_does_not_replace_a_newer_one() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let reader = world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0);
    let old = world.state.ticket();
    let roles = world.state.roles(7, None);
    world.relation = relation(2);
    let open = std::mem::replace(&mut world.described, described(true, &[("anon", SEEN)]));
    world.row(insert([Some("1"), None, None]), 5);
    let relation = world.state.relation(7);
    assert!(world.state.install(7, relation.as_ref(), Some(open), &roles, old));
    world.row(insert([Some("2"), None, None]), 6);
    assert!(!reader.texts().iter().any(|text| text.contains("record")));
}

#[test]
fn a_lookup_that_misses_a_role_must_be_repeated() {
    let mut world = World::new(described(false, &[("anon", SEEN), ("service", SEEN)]));
    world.reader("realtime:r", Vsn::V2, "anon", &[ALL], 0);
    let (roles, ticket) = (world.state.roles(7, None), world.state.ticket());
    assert_eq!(roles.len(), 2);
    world.reader("realtime:s", Vsn::V2, "other", &[ALL], 0);
    let found = Some(world.described.clone());
    assert!(!world.state.install(7, None, found, &roles, ticket));
}

#[test]
fn nothing_is_left_of_the_last_reader() {
    let mut world = World::new(described(false, &[("anon", SEEN)]));
    let readers: Vec<_> = (0..100)
        .map(|n| {
            let item = format!(
                r#"{{"schema":"public","table":"todos","filter":"id=eq.{n}","select":["c{n}"]}}"#
            );
            world.reader(&format!("realtime:{n}"), Vsn::V2, "anon", &[&item], 0)
        })
        .collect();
    world.row(insert([Some("7"), None, None]), 5);
    for (n, reader) in readers.iter().enumerate() {
        assert_eq!(reader.frames().len(), usize::from(n == 7));
        world.state.leave(reader.entry.0, reader.entry.1);
    }
    assert!(world.state.tables.is_empty() && world.state.groups.len() == 0);
    assert_eq!(world.state.readiness(&world.relation), Readiness::Ignored);
}
