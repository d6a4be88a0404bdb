-- Judges row images by the SELECT policies of their table, as PostgreSQL would
-- the rows themselves: under the reader's role, with its claims.
--
-- In: the setting rowcast.questions, a JSON array of units with
--   table    oid
--   role     name
--   held     the columns that the log has of these rows
--   columns  those of them that are sent
--   rows     objects: values in PostgreSQL's own text form, json as it is
--   claims, subs, places, sizes   of each asker: its claims, the claim sub,
--            which rows matter to it, as an array (null for all), and how many
--            to try at a time at most;
-- rowcast.slice, milliseconds after which no new work begins; rowcast.policies,
-- which asks for a table's policies; rowcast.body, which judges one unit; and
-- rowcast.path, the session's search_path. The path is pg_catalog while this
-- runs: everyone may put things elsewhere.
--
-- Out: the setting rowcast.answers, a JSON array with an object for each unit
-- that was begun, which has one of
--   error    SQLSTATE: the unit cannot be judged
--   needs    columns that must be sent first
--   seen     a text for each asker that was begun: t and f for its rows in
--            order, ! where a policy raised; short if time ran out
-- and with the last
--   blind    a policy reads what the log does not have
--   reads    the columns that the policies read
--   states   SQLSTATEs of what raised
--   cut      if statement_timeout struck: how many rows were being tried, which
--            are those after the end of seen
do $rowcast$
declare
  unit json;
  facts record;
  allow text;
  refuse text;
  attempt text;
  schemas name[];
  state text;
  answers json[] := '{}';
  until timestamptz := clock_timestamp() + current_setting('rowcast.slice')::float8 * interval '1 millisecond';
begin
  perform set_config('rowcast.until', until::text, true);
  if not exists (select from pg_prepared_statements where name = 'rowcast_policies') then
    execute current_setting('rowcast.policies');
  end if;
  for unit in select * from json_array_elements(current_setting('rowcast.questions')::json) loop
    exit when cardinality(answers) > 0 and clock_timestamp() > until;
    begin
      execute format('execute rowcast_policies (%s, %L, %L)', unit ->> 'table', unit ->> 'role',
        array(select json_array_elements_text(unit -> 'held'))) into facts;
      if facts.kind is null then
        raise undefined_table;
      elsif facts.role is null then
        raise invalid_parameter_value;
      elsif facts.is_exempt or not facts.is_open then
        answers := answers || json_build_object('blind', facts.is_blind, 'seen', array(
          select repeat(case when facts.is_exempt then 't' else 'f' end,
                        coalesce(cardinality(p::int[]), json_array_length(unit -> 'rows')))
            from json_array_elements_text(unit -> 'places') p));
        continue;
      elsif not facts.columns <@ array(select json_array_elements_text(unit -> 'columns')) then
        answers := answers || json_build_object('needs', facts.columns);
        continue;
      end if;

      -- The path as the role would have it, spelt out, so that names mean the
      -- same where they are written, read and used.
      perform set_config('role', unit ->> 'role', true), set_config('search_path', current_setting('rowcast.path'), true);
      schemas := pg_catalog.current_schemas(false);
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), pg_catalog.set_config('role', 'none', true);
      perform set_config('rowcast.schemas', coalesce(string_agg(quote_ident(s), ', ' order by n), ''), true)
         from unnest(schemas) with ordinality x(s, n);
      perform set_config('search_path', current_setting('rowcast.schemas'), true);
      -- In the order in which PostgreSQL itself combines them.
      select pg_catalog.string_agg(case when p.polpermissive then pg_catalog.concat('(', e, ')') end, ' or ' order by p.polname desc),
             pg_catalog.string_agg(case when not p.polpermissive then pg_catalog.concat('(', e, ')') end, ' and ' order by p.polname)
        into allow, refuse
        from pg_catalog.pg_policy p, lateral pg_catalog.pg_get_expr(p.polqual, p.polrelid) e
       where p.oid operator(pg_catalog.=) any (facts.policies);
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

      perform set_config('rowcast.unit', unit::text, true);
      -- As the condition of a join, so that the planner treats it as it does a
      -- policy; an outer one, so that every row has an answer, in order.
      attempt := format('array_to_string(array(select rowcast_x.rowcast_ok is not null '
        'from pg_catalog.unnest(rowcast_tried) as %I left join (select true) as rowcast_x(rowcast_ok) on (%s)), '''')',
        facts.relname, concat_ws(' and ', refuse, '(' || allow || ')'));
      execute format('do %L', format(current_setting('rowcast.body'), facts.kind,
        -- A statement that reads tables with policies is analysed again for
        -- each role, and would then need USAGE on the schemas of its names.
        -- What EXPLAIN contains is analysed once and rewritten when it runs.
        case when facts.is_far
          then 'for rowcast_row in explain (analyze, costs off, timing off) select pg_catalog.set_config(''rowcast.saw'', pg_catalog.' || attempt || ', true) loop end loop; rowcast_saw := pg_catalog.current_setting(''rowcast.saw'');'
          else 'rowcast_saw := pg_catalog.' || attempt || ';' end,
        case when facts.may_fold then 'force_custom_plan' else 'force_generic_plan' end));
      answers := answers || json_build_object('blind', facts.is_blind, 'reads', facts.columns, 'judged', current_setting('rowcast.answer')::json);
    exception when others then
      get stacked diagnostics state = returned_sqlstate;
      answers := answers || json_build_object('error', state);
    end;
  end loop;
  perform set_config('rowcast.answers', array_to_json(answers)::text, true);
end
$rowcast$;
