//! The query behind every description of a table.

use std::{collections::HashMap, sync::Arc};

use super::{
    CatalogError, Described, Generated, Generation, RoleView, Table, TableColumn,
    types::{self, Types},
};
use crate::{
    postgres::pool::{Pool, Row, types::Type},
    postgres_changes::filter::compile::{AskedType, ColumnType},
};

/// Which tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) enum Scope {
    /// By name; none is any.
    Names { schema: Option<Arc<str>>, table: Option<Arc<str>> },
    /// This one.
    Oid(u32),
}

/// One row per column. `default` is the database's collation; the builtin and
/// ICU providers came with PostgreSQL 15 and 17, hence the detour by JSON.
const SQL: &str = r#"
with role as (
  select x.n, r.oid, r.rolsuper or r.rolbypassrls as bypasses
    from unnest($5::text[]) with ordinality x(name, n)
    left join pg_catalog.pg_roles r on r.rolname = x.name
), db as (
  select coalesce(d ->> 'datlocprovider', 'c') = 'b'
      or coalesce(d ->> 'datlocprovider', 'c') = 'c'
         and d ->> 'datcollate' in ('C', 'POSIX', 'C.UTF-8', 'C.utf8') as bytes,
         concat_ws(' ', d ->> 'datctype', d ->> 'daticulocale', d ->> 'datlocale') as locale
    from (select to_jsonb(p) d from pg_catalog.pg_database p where p.datname = current_database()) x
)
select c.oid, n.nspname::text, c.relname::text, c.relrowsecurity,
       a.attname::text, a.atttypid, t.typname::text,
       format_type(a.atttypid, null), format_type(a.atttypid, -1),
       coalesce(a.attnum = any(i.indkey), false),
       coalesce(case when l.collname = 'default' then db.bytes
                     else l.collname in ('C', 'POSIX', 'ucs_basic') end, true),
       coalesce(l.collisdeterministic, true),
       array(select case when role.oid is null then null
                         else has_column_privilege(role.oid, c.oid, a.attnum, 'select') end
               from role order by role.n),
       array(select case when role.oid is null then null
                         else role.bypasses or not c.relforcerowsecurity
                              and pg_has_role(role.oid, c.relowner, 'usage') end
               from role order by role.n),
       case when l.collname <> 'default' then quote_ident(cn.nspname) || '.' || quote_ident(l.collname) end,
       case when l.collname = 'default' then db.locale
            else concat_ws(' ', j.l ->> 'collctype', j.l ->> 'colliculocale', j.l ->> 'colllocale') end
         !~* '(^| )(tr|az)([_-]|$)',
       coalesce(to_jsonb(p) -> 'attnames' ? a.attname::text, true) or a.attgenerated <> '',
       pg_get_expr(g.adbin, g.adrelid), quote_ident(pg_get_userbyid(c.relowner)),
       array(select distinct s.attname::text
               from pg_catalog.pg_depend d
               join pg_catalog.pg_attribute s on s.attrelid = d.refobjid and s.attnum = d.refobjsubid
              where d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = g.adrelid
                and d.refobjsubid not in (0, g.adnum)
                and (d.classid = 'pg_catalog.pg_attrdef'::regclass and d.objid = g.oid
                     or d.classid = 'pg_catalog.pg_class'::regclass and d.objid = g.adrelid
                        and d.objsubid = g.adnum))
  from pg_catalog.pg_publication_tables p
  join pg_catalog.pg_namespace n on n.nspname = p.schemaname
  join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_type t on t.oid = a.atttypid
  left join pg_catalog.pg_attrdef g
    on g.adrelid = c.oid and g.adnum = a.attnum and a.attgenerated <> ''
  left join pg_catalog.pg_collation l on l.oid = a.attcollation
  left join pg_catalog.pg_namespace cn on cn.oid = l.collnamespace
 cross join lateral (select to_jsonb(l) l) j
  left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
  cross join db
 where p.pubname = $1
   and ($2::text is null or p.schemaname = $2)
   and ($3::text is null or p.tablename = $3)
   and ($4::oid is null or c.oid = $4)
 order by c.oid, a.attnum"#;

pub(super) async fn tables(
    pool: &Pool,
    publication: &str,
    scope: &Scope,
    roles: &[Arc<str>],
) -> Result<Vec<Described>, CatalogError> {
    let (schema, table, oid) = match scope {
        Scope::Names { schema, table } => (schema.as_deref(), table.as_deref(), None),
        Scope::Oid(oid) => (None, None, Some(*oid)),
    };
    let names: Vec<&str> = roles.iter().map(|role| &**role).collect();
    let lease = pool.checkout().await?;
    let rows = lease.query(SQL, &[&publication, &schema, &table, &oid, &names]).await?;
    let mut unknown = Vec::new();
    for row in &rows {
        unknown.push(row.try_get::<_, u32>(5)?);
    }
    let types = types::fetch(&lease, unknown).await?;
    drop(lease);
    let mut found: Vec<Described> = Vec::new();
    for row in &rows {
        let oid: u32 = row.try_get(0)?;
        if found.last().is_none_or(|last| last.table.oid != oid) {
            found.push(describe(row, roles)?);
        }
        if let Some(last) = found.last_mut() {
            add_column(last, row, roles, &types)?;
        }
    }
    Ok(found)
}

/// True if none of these transactions is still under way. The log names them
/// by their lower 32 bits, which are compared in a circle.
pub(super) async fn are_visible(pool: &Pool, xids: &[i64]) -> Result<bool, CatalogError> {
    let sql = "
        with s as materialized (select pg_current_snapshot() s),
             running as (select x::text::bigint & 4294967295 x from s, pg_snapshot_xip(s.s) x)
        select not exists (
          select from unnest($1::bigint[]) wanted(x), s
           where wanted.x in (select x from running)
              or (wanted.x - (pg_snapshot_xmax(s.s)::text::bigint & 4294967295) + 4294967296)
                 % 4294967296 < 2147483648)";
    let lease = pool.checkout().await?;
    let rows = lease.query_typed(sql, &[(&xids, Type::INT8_ARRAY)]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(true))
}

/// Which of these tables are gone or not published.
pub(super) async fn unpublished(
    pool: &Pool,
    publication: &str,
    oids: Vec<u32>,
) -> Result<Vec<u32>, CatalogError> {
    let sql = "select x.oid from unnest($2::oid[]) x(oid) where not exists (
        select from pg_catalog.pg_publication_tables p
          join pg_catalog.pg_namespace n on n.nspname = p.schemaname
          join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
         where p.pubname = $1 and c.oid = x.oid)";
    let lease = pool.checkout().await?;
    let rows = lease.query(sql, &[&publication, &oids]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

fn text(row: &Row, at: usize) -> Result<Arc<str>, CatalogError> {
    Ok(Arc::from(row.try_get::<_, String>(at)?))
}

fn describe(row: &Row, roles: &[Arc<str>]) -> Result<Described, CatalogError> {
    let exempt: Vec<Option<bool>> = row.try_get(13)?;
    let mut views = HashMap::new();
    for (role, exempt) in roles.iter().zip(exempt) {
        if let Some(exempt) = exempt {
            let view = RoleView { exempt, readable: Vec::new() };
            views.insert(Arc::clone(role), Arc::new(view));
        }
    }
    let table = Table {
        oid: row.try_get(0)?,
        schema: text(row, 1)?,
        name: text(row, 2)?,
        row_security: row.try_get(3)?,
        columns: Vec::new(),
        generation: None,
    };
    Ok(Described { table: Arc::new(table), roles: views })
}

fn add_column(
    described: &mut Described,
    row: &Row,
    roles: &[Arc<str>],
    types: &Types,
) -> Result<(), CatalogError> {
    let type_oid: u32 = row.try_get(5)?;
    let (byte_order, deterministic): (bool, bool) = (row.try_get(10)?, row.try_get(11)?);
    let readable: Vec<Option<bool>> = row.try_get(12)?;
    for (role, readable) in roles.iter().zip(readable) {
        if let Some(view) = described.roles.get_mut(role) {
            Arc::make_mut(view).readable.push(readable == Some(true));
        }
    }
    let collation: Option<String> = row.try_get(14)?;
    let cast = text(row, 8)?;
    let asked = AskedType {
        collation: collation.map(Arc::from),
        folds_ascii: row.try_get(15)?,
        ..types.asked(type_oid, &cast)
    };
    let column = TableColumn {
        name: text(row, 4)?,
        type_oid,
        type_name: text(row, 6)?,
        shape: types.shape(type_oid),
        filter: ColumnType {
            kind: types.kind(type_oid, byte_order, deterministic),
            title: text(row, 7)?,
            cast,
            is_bytea: types.base(type_oid) == 17,
            is_domain: types.base(type_oid) != type_oid,
            asked,
        },
        is_key: row.try_get(9)?,
        is_published: row.try_get(16)?,
    };
    let table = Arc::make_mut(&mut described.table);
    if let Some(expression) = row.try_get::<_, Option<String>>(17)? {
        let sources: Vec<String> = row.try_get(19)?;
        let generated = Generated {
            name: Arc::clone(&column.name),
            type_oid,
            expression: Arc::from(expression),
            sources: sources.into_iter().map(Arc::from).collect(),
        };
        let owner = text(row, 18)?;
        let empty = || Arc::new(Generation { owner, columns: Vec::new() });
        let generation = table.generation.get_or_insert_with(empty);
        Arc::make_mut(generation).columns.push(generated);
    }
    table.columns.push(column);
    Ok(())
}
