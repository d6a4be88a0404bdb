-- Changes of rows by SQL polling with the plugin wal2json, for tools that call
-- these functions themselves. Rowcast reads the log directly and calls none of
-- them. Not for a database of Supabase Realtime, which has its own.
do $$
begin
  if to_regclass('realtime.schema_migrations') is not null then
    return;
  end if;

  if to_regprocedure('realtime.wal2json_escape_identifier(text)') is null then
    create function realtime.wal2json_escape_identifier(name text) returns text
    language sql immutable strict as $f$
      select regexp_replace(name, '([\\,.[:space:]])', '\\\1', 'g')
    $f$;
  end if;

  if to_regprocedure('realtime.quote_wal2json(regclass)') is null then
    create function realtime.quote_wal2json(entity regclass) returns text
    language sql immutable strict as $f$
      select realtime.wal2json_escape_identifier(n.nspname::text) || '.'
        || realtime.wal2json_escape_identifier(c.relname::text)
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.oid = entity
    $f$;
  end if;

  -- Asks whether the row with this primary key is there, for whoever executes it.
  if to_regprocedure('realtime.build_prepared_statement_sql(text, regclass, realtime.wal_column[])') is null then
    create function realtime.build_prepared_statement_sql(
      prepared_statement_name text, entity regclass, columns realtime.wal_column[]
    ) returns text language sql as $f$
      select format(
        'prepare %I as select exists (select from %s where %s)',
        prepared_statement_name, entity,
        string_agg(
          format('%I = %L::%s', c.name, c.value #>> '{}', format_type(c.type_oid, -1)), ' and '
        )
      )
      from unnest(columns) c
      where c.is_pkey
    $f$;
  end if;

  -- One change as wal2json (format 2) prints it, shaped for each role and each
  -- set of selected columns, with the subscriptions that may see it.
  if to_regprocedure('realtime.apply_rls(jsonb, integer)') is null then
    create function realtime.apply_rls(wal jsonb, max_record_bytes integer default 1048576)
    returns setof realtime.wal_rls language plpgsql volatile as $f$
    declare
      changed regclass := format('%I.%I', wal ->> 'schema', wal ->> 'table')::regclass;
      action realtime.action := case wal ->> 'action'
        when 'I' then 'INSERT' when 'U' then 'UPDATE' when 'D' then 'DELETE' when 'T' then 'TRUNCATE'
        else 'ERROR' end;
      keys text[] := array(select key ->> 'name' from jsonb_array_elements(wal -> 'pk') key);
      has_rls boolean := (select relrowsecurity from pg_class where oid = changed);
      is_large boolean := octet_length(wal::text) > max_record_bytes;
      caller text := current_setting('role');
      role regrole;
      chosen text[];
      listener record;
      new_row realtime.wal_column[];
      old_row realtime.wal_column[];
      tested realtime.wal_column[];
      shown text[];
      seen uuid[];
      may_see boolean;
      row_exists text;
      output jsonb;
    begin
      if action in ('TRUNCATE', 'ERROR') then
        return;
      end if;
      for role in
        select distinct s.claims_role from realtime.subscription s
        where s.entity = changed and s.action_filter in ('*', action::text)
      loop
        select
          coalesce(array_agg(c.item order by c.place) filter (where c.part = 'columns'), '{}'),
          coalesce(array_agg(c.item order by c.place) filter (where c.part = 'identity'), '{}')
        into new_row, old_row
        from (
          select parts.part, place, row(
            col ->> 'name', t.typname, t.oid,
            case when col ->> 'value' is null then 'null'::jsonb
              else realtime."cast"(col ->> 'value', t.oid::regtype) end,
            col ->> 'name' = any (keys),
            has_column_privilege(role, changed, col ->> 'name', 'SELECT')
          )::realtime.wal_column as item
          from (values ('columns'), ('identity')) parts (part),
            jsonb_array_elements(coalesce(wal -> parts.part, '[]')) with ordinality cols (col, place)
            join pg_type t on t.oid = (col ->> 'typeoid')::oid
        ) c;
        tested := case when action = 'DELETE' then old_row else new_row end;

        if action <> 'DELETE' and (
          cardinality(keys) = 0 or exists (select from unnest(new_row) c where c.is_pkey and not c.is_selectable)
        ) then
          return next row(
            jsonb_build_object('schema', wal ->> 'schema', 'table', wal ->> 'table', 'type', action),
            has_rls,
            array(
              select s.subscription_id from realtime.subscription s
              where s.entity = changed and s.claims_role = role
                and s.action_filter in ('*', action::text)
            ),
            array[case when cardinality(keys) = 0 then 'Error 400: Bad Request, no primary key'
              else 'Error 401: Unauthorized' end]
          )::realtime.wal_rls;
          continue;
        end if;

        select format('select exists (select from %s where %s)', changed, string_agg(
          format('%I = %L::%s', c.name, c.value #>> '{}', format_type(c.type_oid, -1)), ' and '))
        into row_exists from unnest(new_row) c where c.is_pkey;

        for chosen in
          select distinct coalesce(s.selected_columns, '{}') from realtime.subscription s
          where s.entity = changed and s.claims_role = role
            and s.action_filter in ('*', action::text)
        loop
          seen := '{}';
          for listener in
            select s.subscription_id, s.claims, s.filters from realtime.subscription s
            where s.entity = changed and s.claims_role = role
              and s.action_filter in ('*', action::text)
              and coalesce(s.selected_columns, '{}') = chosen
          loop
            may_see := realtime.is_visible_through_filters(tested, listener.filters);
            if may_see and has_rls and action <> 'DELETE' then
              perform set_config('request.jwt.claims', listener.claims::text, true),
                set_config('role', trim(both '"' from role::text), true);
              execute row_exists into may_see;
              perform set_config('role', caller, true);
            end if;
            if may_see then
              seen := seen || listener.subscription_id;
            end if;
          end loop;
          continue when cardinality(seen) = 0;

          -- Keys are always shown; of a deleted row under row security nothing else is.
          shown := array(
            select distinct c.name from unnest(new_row || old_row) c
            where c.is_selectable and (cardinality(chosen) = 0 or c.name = any (chosen) or c.is_pkey)
          );
          output := jsonb_build_object(
            'schema', wal ->> 'schema',
            'table', wal ->> 'table',
            'type', action,
            'commit_timestamp', to_char(
              (wal ->> 'timestamp')::timestamptz at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            'columns', (
              select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'type', t.typname) order by a.attnum), '[]')
              from pg_attribute a join pg_type t on t.oid = a.atttypid
              where a.attrelid = changed and a.attnum > 0 and not a.attisdropped
                and has_column_privilege(role, changed, a.attnum, 'SELECT')
                and (cardinality(chosen) = 0 or a.attname = any (chosen) or a.attname = any (keys))
            )
          );
          if action <> 'DELETE' then
            output := output || jsonb_build_object('record', (
              select coalesce(jsonb_object_agg(name, value), '{}') from (
                -- A large value that did not change is known from the old row only.
                select distinct on (c.name) c.name, c.value
                from unnest(new_row || old_row) with ordinality
                  c (name, type_name, type_oid, value, is_pkey, is_selectable, place)
                where c.name = any (shown) and (not is_large or octet_length(c.value::text) <= 64)
                order by c.name, c.place
              ) final
            ));
          end if;
          if action <> 'INSERT' then
            output := output || jsonb_build_object('old_record', (
              select coalesce(jsonb_object_agg(c.name, c.value), '{}') from unnest(old_row) c
              where c.name = any (shown) and (not is_large or octet_length(c.value::text) <= 64)
                and (c.is_pkey or not (has_rls and action = 'DELETE'))
            ));
          end if;
          return next row(
            output, has_rls, seen,
            case when is_large then array['Error 413: Payload Too Large'] else '{}'::text[] end
          )::realtime.wal_rls;
        end loop;
      end loop;
    end
    $f$;
  end if;

  -- Takes changes off a slot of wal2json. When none is for anybody, one row of
  -- nulls carries the count.
  if to_regprocedure('realtime.list_changes(name, name, integer, integer)') is null then
    create function realtime.list_changes(
      publication name, slot_name name, max_changes integer, max_record_bytes integer
    ) returns table (
      wal jsonb, is_rls_enabled boolean, subscription_ids uuid[], errors text[], slot_changes_count bigint
    ) language plpgsql volatile as $f$
    declare
      actions text := (
        select concat_ws(',', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
          case when p.pubdelete then 'delete' end)
        from pg_publication p where p.pubname = list_changes.publication
      );
      tables text := (
        select string_agg(realtime.quote_wal2json(format('%I.%I', t.schemaname, t.tablename)::regclass), ',')
        from pg_publication_tables t where t.pubname = list_changes.publication
      );
      changes jsonb[];
      change jsonb;
      visible record;
      any_visible boolean := false;
    begin
      if coalesce(actions, '') = '' or tables is null then
        return;
      end if;
      changes := array(
        select data::jsonb from pg_logical_slot_get_changes(
          slot_name, null, max_changes,
          'format-version', '2', 'include-pk', 'true', 'include-transaction', 'false',
          'include-timestamp', 'true', 'include-type-oids', 'true',
          'actions', actions, 'add-tables', tables)
      );
      slot_changes_count := cardinality(changes);
      foreach change in array changes loop
        for visible in select r.* from realtime.apply_rls(change, max_record_bytes) r loop
          any_visible := true;
          wal := visible.wal;
          is_rls_enabled := visible.is_rls_enabled;
          subscription_ids := visible.subscription_ids;
          errors := visible.errors;
          return next;
        end loop;
      end loop;
      if not any_visible and slot_changes_count > 0 then
        wal := null; is_rls_enabled := null; subscription_ids := null; errors := null;
        return next;
      end if;
    end
    $f$;
    -- Decoding logs a line for each call; only some users may silence it.
    begin
      alter function realtime.list_changes(name, name, integer, integer) set log_min_messages = fatal;
    exception when insufficient_privilege then
      null;
    end;
  end if;
end $$;
