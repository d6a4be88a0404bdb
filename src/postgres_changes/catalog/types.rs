//! Types that the database made itself: domains, enums, arrays, rows.

use std::{collections::HashMap, sync::Arc};

use super::CatalogError;
use crate::{
    postgres::{
        pool::Lease,
        value::{Field, TypeShape},
    },
    postgres_changes::filter::{compare::Kind, compile::AskedType},
};

/// Types nest; deeper than this is rendered as text.
const MAX_DEPTH: u32 = 16;

/// A type and everything it is made of.
const SQL: &str = r"
with recursive need(oid) as (
  select unnest($1::oid[])
  union
  select x.oid
    from need
    join pg_catalog.pg_type t on t.oid = need.oid
   cross join lateral (
     select t.typelem where t.typelem <> 0 and t.typlen = -1
     union all
     select t.typbasetype where t.typtype = 'd'
     union all
     select a.atttypid from pg_catalog.pg_attribute a
      where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
   ) x(oid)
)
select t.oid, t.typtype::text, case when t.typlen = -1 then t.typelem else 0 end,
       t.typbasetype, coalesce(e.typdelim, ',')::text,
       array(select a.attname::text from pg_catalog.pg_attribute a
              where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0
                and not a.attisdropped order by a.attnum),
       array(select a.atttypid from pg_catalog.pg_attribute a
              where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0
                and not a.attisdropped order by a.attnum),
       array(select l.enumlabel::text from pg_catalog.pg_enum l
              where l.enumtypid = t.oid order by l.enumsortorder),
       format_type(t.oid, -1), quote_ident(n.nspname)
  from need
  join pg_catalog.pg_type t on t.oid = need.oid
  join pg_catalog.pg_namespace n on n.oid = t.typnamespace
  left join pg_catalog.pg_type e on e.oid = t.typelem";

/// The types of some tables.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<u32, Entry>);

#[derive(Debug)]
struct Entry {
    made: Made,
    is_enum: bool,
    /// Of an enum, in their order.
    labels: Arc<[Arc<str>]>,
    /// As SQL writes it.
    cast: Arc<str>,
    /// Where its operators are.
    schema: Arc<str>,
}

#[derive(Debug)]
enum Made {
    Domain(u32),
    Array { element: u32, delimiter: u8 },
    Row(Vec<(Arc<str>, u32)>),
    Itself,
}

/// Reads the types among `oids` that are not built-in scalars.
pub(super) async fn fetch(client: &Lease, mut oids: Vec<u32>) -> Result<Types, CatalogError> {
    oids.retain(|oid| TypeShape::of_builtin(*oid).is_none());
    oids.sort_unstable();
    oids.dedup();
    let mut types = Types::default();
    if oids.is_empty() {
        return Ok(types);
    }
    for row in client.query(SQL, &[&oids]).await? {
        let kind: String = row.try_get(1)?;
        let element: u32 = row.try_get(2)?;
        let made = if kind == "d" {
            Made::Domain(row.try_get(3)?)
        } else if kind == "c" {
            let names: Vec<String> = row.try_get(5)?;
            let oids: Vec<u32> = row.try_get(6)?;
            Made::Row(names.into_iter().map(Arc::from).zip(oids).collect())
        } else if element != 0 {
            let delimiter: String = row.try_get(4)?;
            Made::Array { element, delimiter: delimiter.bytes().next().unwrap_or(b',') }
        } else {
            Made::Itself
        };
        let labels: Vec<String> = row.try_get(7)?;
        let (cast, schema): (String, String) = (row.try_get(8)?, row.try_get(9)?);
        // Arrays, enums, rows and ranges have PostgreSQL's own operators,
        // whatever schema they are in; other types bring theirs.
        let brings = kind == "b" && matches!(made, Made::Itself);
        let entry = Entry {
            made,
            is_enum: kind == "e",
            labels: labels.into_iter().map(Arc::from).collect(),
            cast: Arc::from(cast),
            schema: Arc::from(if brings { &*schema } else { "pg_catalog" }),
        };
        types.0.insert(row.try_get(0)?, entry);
    }
    Ok(types)
}

impl Types {
    /// The JSON form of a type.
    pub(super) fn shape(&self, oid: u32) -> TypeShape {
        self.shape_at(oid, MAX_DEPTH)
    }

    fn shape_at(&self, oid: u32, depth: u32) -> TypeShape {
        if let Some(shape) = TypeShape::of_builtin(oid) {
            return shape;
        }
        let Some(depth) = depth.checked_sub(1) else { return TypeShape::Text };
        match self.0.get(&oid).map(|entry| &entry.made) {
            Some(Made::Domain(base)) => self.shape_at(*base, depth),
            Some(Made::Array { element, delimiter }) => TypeShape::Array {
                element: Arc::new(self.shape_at(*element, depth)),
                delimiter: *delimiter,
            },
            Some(Made::Row(fields)) => TypeShape::Composite(
                fields
                    .iter()
                    .map(|(name, oid)| Field {
                        name: Arc::clone(name),
                        shape: self.shape_at(*oid, depth),
                    })
                    .collect(),
            ),
            Some(Made::Itself) | None => TypeShape::Text,
        }
    }

    /// What a domain is underneath; any other type is itself.
    pub(super) fn base(&self, oid: u32) -> u32 {
        let mut oid = oid;
        for _ in 0..MAX_DEPTH {
            match self.0.get(&oid).map(|entry| &entry.made) {
                Some(Made::Domain(base)) => oid = *base,
                _ => break,
            }
        }
        oid
    }

    /// How PostgreSQL is asked to compare values of a type; `cast` names it
    /// if it is built-in.
    pub(super) fn asked(&self, oid: u32, cast: &Arc<str>) -> AskedType {
        let known = self.0.get(&self.base(oid));
        AskedType {
            cast: Arc::clone(known.map_or(cast, |entry| &entry.cast)),
            schema: known
                .map_or_else(|| Arc::from("pg_catalog"), |entry| Arc::clone(&entry.schema)),
            labels: known.map(|entry| Arc::clone(&entry.labels)).unwrap_or_default(),
            collation: None,
            folds_ascii: false,
        }
    }

    /// How values of a type compare.
    pub(super) fn kind(&self, oid: u32, byte_order: bool, deterministic: bool) -> Kind {
        let oid = self.base(oid);
        let kind = match self.0.get(&oid) {
            Some(Entry { is_enum: true, .. }) => Kind::Exact,
            Some(Entry { made: Made::Array { element, .. }, .. }) => {
                match self.kind(*element, byte_order, deterministic) {
                    // Their elements print differently although equal.
                    Kind::Numeric
                    | Kind::Float4
                    | Kind::Float8
                    | Kind::Opaque
                    | Kind::Text { padded: true, .. } => Kind::Opaque,
                    _ => Kind::Exact,
                }
            }
            _ => Kind::of_builtin(oid, byte_order),
        };
        // A nondeterministic collation calls different bytes equal.
        let is_text = matches!(kind, Kind::Text { .. } | Kind::Exact);
        if is_text && !deterministic { Kind::Opaque } else { kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> Types {
        let entry = |made, is_enum| {
            let (cast, schema) = (Arc::from("x"), Arc::from("pg_catalog"));
            Entry { made, is_enum, labels: Arc::default(), cast, schema }
        };
        Types(HashMap::from([
            (100_001, entry(Made::Domain(23), false)),
            (100_002, entry(Made::Array { element: 100_001, delimiter: b',' }, false)),
            (100_003, entry(Made::Row(vec![(Arc::from("x"), 100_002)]), false)),
            (100_004, entry(Made::Itself, true)),
            (100_005, entry(Made::Array { element: 1700, delimiter: b',' }, false)),
        ]))
    }

    #[test]
    fn a_domain_is_its_base_type() {
        assert_eq!(types().shape(100_001), TypeShape::Number);
        assert_eq!(types().kind(100_001, false, true), Kind::Integer);
        assert_eq!(types().base(100_001), 23);
    }

    #[test]
    fn shapes_nest() {
        let array = TypeShape::Array { element: Arc::new(TypeShape::Number), delimiter: b',' };
        assert_eq!(types().shape(100_002), array);
        let field = Field { name: Arc::from("x"), shape: array };
        assert_eq!(types().shape(100_003), TypeShape::Composite(Arc::from([field])));
        assert_eq!(types().shape(99), TypeShape::Text);
    }

    #[test]
    fn equality_by_text_is_claimed_only_where_it_is_true() {
        assert_eq!(types().kind(100_004, false, true), Kind::Exact);
        assert_eq!(types().kind(100_002, false, true), Kind::Exact);
        assert_eq!(types().kind(100_005, false, true), Kind::Opaque);
        assert_eq!(types().kind(25, true, false), Kind::Opaque);
    }
}
