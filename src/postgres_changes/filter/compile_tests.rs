//! Filters made ready, and values judged by them.

use super::*;
use crate::{
    postgres_changes::filter::{ask::Answers, parse::parse},
    replication::change::Value,
};

fn column(oid: u32, title: &str) -> ColumnType {
    ColumnType::builtin(oid, title, false)
}

fn predicate(condition: &str, column: &ColumnType) -> Result<Predicate, Misfit> {
    let filter = parse(&format!("c={condition}")).unwrap().remove(0);
    let values: Vec<_> = check(&filter, column)?.into_iter().map(Arc::from).collect();
    compile(&filter, column, &values)
}

fn holds(condition: &str, column: &ColumnType, value: Option<&str>) -> bool {
    let value = value.map_or(Value::Null, |text| Value::Text(text.as_bytes()));
    predicate(condition, column).unwrap().judge(value, &mut Answers::default()) == Verdict::Holds
}

#[test]
fn the_truth_table_of_nulls() {
    let (int, text, bool) = (column(23, "integer"), column(25, "text"), column(16, "boolean"));
    // Null: no comparison holds, negated or not.
    for condition in ["eq.1", "neq.1", "lt.1", "lte.1", "gt.1", "gte.1", "in.(1)"] {
        assert!(!holds(condition, &int, None), "{condition}");
        assert!(!holds(&format!("not.{condition}"), &int, None), "not.{condition}");
    }
    for condition in ["like.a%", "ilike.a%", "match.a", "imatch.a"] {
        assert!(!holds(condition, &text, None), "{condition}");
        assert!(!holds(&format!("not.{condition}"), &text, None), "not.{condition}");
    }
    assert!(holds("is.null", &int, None) && !holds("not.is.null", &int, None));
    assert!(!holds("is.true", &bool, None) && holds("is.unknown", &bool, None));
    assert!(holds("not.is.true", &bool, None));
    assert!(holds("isdistinct.1", &int, None) && !holds("not.isdistinct.1", &int, None));
    // Not null.
    assert!(!holds("is.null", &int, Some("1")) && holds("not.is.null", &int, Some("1")));
    assert!(holds("is.true", &bool, Some("t")) && !holds("is.true", &bool, Some("f")));
    assert!(holds("is.false", &bool, Some("f")) && !holds("is.unknown", &bool, Some("f")));
    assert!(holds("isdistinct.1", &int, Some("2")) && !holds("isdistinct.1", &int, Some("1")));
    assert!(holds("not.isdistinct.1", &int, Some("1")));
    // Not in the log: nothing holds.
    for condition in
        ["eq.1", "not.eq.1", "is.null", "not.is.null", "isdistinct.1", "not.isdistinct.1", "in.(1)"]
    {
        let predicate = predicate(condition, &int).unwrap();
        let verdict = predicate.judge(Value::Unchanged, &mut Answers::default());
        assert_eq!(verdict, Verdict::Fails, "{condition}");
    }
}

#[test]
fn comparisons_follow_the_type() {
    let int = column(23, "integer");
    assert!(holds("gt.9", &int, Some("10")) && !holds("gt.9", &int, Some("9")));
    assert!(holds("lte.2", &int, Some("2")) && holds("neq.2", &int, Some("3")));
    let numeric = column(1700, "numeric");
    assert!(holds("eq.1.50", &numeric, Some("1.5")) && holds("in.(1.50,2)", &numeric, Some("2.0")));
    assert!(holds("eq.NaN", &column(701, "double precision"), Some("NaN")));
}

#[test]
fn a_list_with_null_is_never_false() {
    let text = column(25, "text");
    assert!(holds("in.(apple,NULL)", &text, Some("apple")));
    assert!(!holds("in.(apple,NULL)", &text, Some("pear")));
    assert!(!holds("not.in.(apple,NULL)", &text, Some("pear")));
    assert!(holds("not.in.(apple)", &text, Some("pear")));
    assert!(!holds("in.()", &text, Some("pear")));
    assert!(holds("not.in.()", &text, None) && !holds("in.()", &text, None));
}

#[test]
fn text_orders_only_under_a_byte_collation() {
    let mut text = column(25, "text");
    assert_eq!(predicate("lt.b", &text).unwrap().asks().len(), 1);
    text.kind = Kind::of_builtin(25, true);
    assert!(holds("lt.b", &text, Some("a")) && !holds("lt.b", &text, Some("é")));
}

#[test]
fn what_is_not_ours_to_compare_is_asked() {
    let mut json = column(3802, "jsonb");
    let list = predicate(r#"in.("{}",[],NULL)"#, &json).unwrap();
    let mut answers = Answers::default();
    let value = Value::Text(b"[]");
    assert_eq!(list.judge(value, &mut answers), Verdict::Open);
    let open = answers.take_open();
    assert_eq!(open.len(), 2);
    for (asked, value) in open {
        let answer = Some(*asked.wanted == *"[]");
        answers.put(asked, value, answer);
    }
    assert_eq!(list.judge(value, &mut answers), Verdict::Holds);
    let distinct = predicate("isdistinct.[]", &json).unwrap();
    assert_eq!(distinct.judge(value, &mut answers), Verdict::Fails);
    assert_eq!(distinct.judge(Value::Null, &mut answers), Verdict::Holds);
    // Nothing equals, but a null in the list leaves it unknown.
    let others = predicate(r#"not.in.("{}",NULL)"#, &json).unwrap();
    assert_eq!(others.judge(value, &mut answers), Verdict::Fails);
    json.kind = Kind::Exact;
    json.asked.labels = ["low", "high"].map(Arc::from).into();
    let order = predicate("gt.low", &json).unwrap();
    assert_eq!(order.judge(Value::Text(b"high"), &mut answers), Verdict::Holds);
    assert_eq!(order.judge(Value::Text(b"low"), &mut answers), Verdict::Fails);
    assert_eq!(order.judge(Value::Text(b"new"), &mut answers), Verdict::Open);
}

#[test]
fn misfits_are_told_in_the_known_words() {
    let int = column(23, "integer");
    let text = |condition: &str, column: &ColumnType| {
        predicate(condition, column).unwrap_err().to_string()
    };
    assert_eq!(
        text("like.1%", &int),
        "operator like requires a text-compatible column type, got integer"
    );
    assert_eq!(
        text("match.x", &column(1043, "character varying")),
        "operator match requires a text-compatible column type, got character varying"
    );
    assert_eq!(text("is.true", &int), "is true filter requires a boolean column, got integer");
    assert_eq!(
        text("is.maybe", &int),
        "invalid value for is filter: must be null, true, false, or unknown"
    );
    let many = (0..101).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(text(&format!("in.({many})"), &int), "too many values for `in` filter. Maximum 100");
    assert_eq!(text("in.(1,,2)", &int), "malformed array literal: \"{1,,2}\"");
}

#[test]
fn bare_hex_digits_are_bytea_too() {
    let bytea = column(17, "bytea");
    assert!(holds("eq.0102", &bytea, Some("\\x0102")));
    assert!(holds("eq.\\x0102", &bytea, Some("\\x0102")));
}
