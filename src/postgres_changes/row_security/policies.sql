-- The policies that apply to a role's SELECT on a table: oid, role, and the
-- columns that the log has. Prepared once for each session, because planning
-- it takes longer than running it.
prepare rowcast_policies (oid, text, text[]) as
select c.relname, format_type(c.reltype, null) as kind, r.oid as role,
       not c.relrowsecurity or r.rolsuper or r.rolbypassrls
         or not c.relforcerowsecurity and pg_has_role(r.oid, c.relowner, 'usage') as is_exempt,
       p.*
  from pg_class c
  left join pg_roles r on r.rolname = $2
 cross join lateral (
   -- A permissive policy that reads what the log does not have allows
   -- nothing, a restrictive one then refuses everything.
   select array_agg(x.oid) filter (where x.is_known) as policies,
          coalesce(bool_or(x.is_known and x.polpermissive), false)
            and not bool_or(not x.is_known and not x.polpermissive) as is_open,
          coalesce(bool_or(not x.is_known), false) as is_blind,
          array(select distinct c from json_array_elements(json_agg(x.columns) filter (where x.is_known)) p,
                                       json_array_elements_text(p) c) as columns,
          coalesce(bool_or(x.may_fold), false) as may_fold,
          coalesce(bool_or(x.is_far), false) and coalesce(bool_or(x.has_tables), false) as is_far
     from (
       select y.*, y.columns <@ $3 and not y.is_physical as is_known
         from (
           select pol.oid, pol.polpermissive,
                  -- System columns are never in the log.
                  pol.polqual::text ~ ':varattno -' as is_physical,
                  array(select a.attname::text from pg_attribute a
                         where a.attrelid = pol.polrelid and a.attnum > 0 and not a.attisdropped
                           -- A reference to the whole row leaves no trace in pg_depend.
                           and (pol.polqual::text ~ ':varattno 0 '
                                or exists (select from pg_depend d
                                            where d.classid = 'pg_policy'::regclass and d.objid = pol.oid
                                              and d.refclassid = 'pg_class'::regclass
                                              and d.refobjid = pol.polrelid and d.refobjsubid = a.attnum))) as columns,
                  -- Functions that are called immutable and may not be: a plan must not keep their results.
                  exists (select from pg_depend d
                            join pg_proc f on f.oid = d.refobjid
                            join pg_language l on l.oid = f.prolang
                           where d.classid = 'pg_policy'::regclass and d.objid = pol.oid
                             and d.refclassid = 'pg_proc'::regclass
                             and f.provolatile = 'i' and l.lanname not in ('internal', 'c')) as may_fold,
                  exists (select from pg_depend d
                            left join pg_proc f on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
                            left join pg_class k on d.refclassid = 'pg_class'::regclass and k.oid = d.refobjid
                            left join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
                            left join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
                           where d.classid = 'pg_policy'::regclass and d.objid = pol.oid
                             and not has_schema_privilege(r.oid,
                               coalesce(f.pronamespace, k.relnamespace, t.typnamespace, o.oprnamespace), 'usage')) as is_far,
                  exists (select from pg_depend d
                           where d.classid = 'pg_policy'::regclass and d.objid = pol.oid
                             and d.refclassid = 'pg_class'::regclass and d.refobjid <> c.oid) as has_tables
             from pg_policy pol
            where pol.polrelid = c.oid and pol.polcmd in ('r', '*') and pol.polqual is not null
              and exists (select from unnest(pol.polroles) m
                           where m = 0 or pg_has_role(r.oid, m, 'usage'))
         ) y
     ) x
 ) p
 where c.oid = $1
