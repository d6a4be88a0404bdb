//! What verdicts do to a row, and who takes whose place.

use super::*;
use crate::postgres_changes::row_security::{Side, Slot};

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
        let row = Row { change, commit: Lsn(5), committed_at: 0 };
        let mut missing = Questions::default();
        let is_done = world.state.deliver(&row, 3, rules, verdicts, &mut missing);
        (is_done, missing.len(), reader.texts())
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
