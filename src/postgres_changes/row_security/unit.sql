-- Judges one unit of judge.sql, which puts in the table's row type, the
-- statement that tries the policies, and how to plan it.
--
-- Each try runs in a subtransaction that is always undone: what raises costs
-- nobody else an answer, and what functions set or write does not reach the
-- next asker.
--
-- The first turn has no rows and runs as the server's user. It resolves the
-- names in the condition, which PostgreSQL did when the policy was made: a role
-- needs no USAGE on their schemas. From the second turn on, plan, functions and
-- tables are the role's own. One plan serves all askers.
#variable_conflict use_column
declare
  rowcast_unit json := current_setting('rowcast.unit')::json;
  rowcast_until timestamptz := current_setting('rowcast.until');
  rowcast_role text := rowcast_unit ->> 'role';
  rowcast_claims text[] := array(select json_array_elements_text(rowcast_unit -> 'claims'));
  rowcast_subs text[] := array(select json_array_elements_text(rowcast_unit -> 'subs'));
  rowcast_which text[] := array(select json_array_elements_text(rowcast_unit -> 'places'));
  rowcast_sizes int[] := array(select json_array_elements_text(rowcast_unit -> 'sizes')::int);
  rowcast_turn int := 0;
  rowcast_all %1$s[];
  rowcast_tried %1$s[] := '{}';
  rowcast_is_whole boolean := false;
  rowcast_value json;
  rowcast_row record;
  rowcast_bad int[] := '{}';
  rowcast_places int[];
  rowcast_from int := 1;
  rowcast_size int := 0;
  rowcast_count int := 0;
  rowcast_total int;
  rowcast_saw text;
  rowcast_bits text;
  rowcast_seen text[] := '{}';
  rowcast_state text;
  rowcast_states text[] := '{}';
  rowcast_cut int;
  -- Every script gets one try further, however slow it was to begin.
  rowcast_has_tried boolean := false;
begin
  begin
    rowcast_all := array(
      select rowcast_r from json_populate_recordset(null::%1$s, rowcast_unit -> 'rows') rowcast_r);
  exception when others then
    -- A value that its type no longer takes must not cost the other rows.
    rowcast_all := '{}';
    for rowcast_value in select json_array_elements(rowcast_unit -> 'rows') loop
      begin
        rowcast_all := array_append(rowcast_all, json_populate_record(null::%1$s, rowcast_value));
      exception when others then
        get stacked diagnostics rowcast_state = returned_sqlstate;
        rowcast_states := array_append(rowcast_states, rowcast_state);
        rowcast_all := array_append(rowcast_all, null);
        rowcast_bad := array_append(rowcast_bad, cardinality(rowcast_all));
      end;
    end loop;
  end;
  perform set_config('plan_cache_mode', 'force_custom_plan', true);

  <<turns>>
  loop
    if rowcast_turn > 0 then
      exit when rowcast_turn > cardinality(rowcast_claims);
      rowcast_places := rowcast_which[rowcast_turn];
      rowcast_total := coalesce(cardinality(rowcast_places), cardinality(rowcast_all));
      rowcast_size := rowcast_sizes[rowcast_turn];
      rowcast_from := 1;
      rowcast_bits := '';
    end if;
    loop
      if rowcast_turn > 0 then
        exit when rowcast_from > rowcast_total;
        if rowcast_has_tried and clock_timestamp() > rowcast_until then
          rowcast_seen := array_append(rowcast_seen, rowcast_bits);
          exit turns;
        end if;
        rowcast_has_tried := true;
        rowcast_count := least(rowcast_size, rowcast_total - rowcast_from + 1);
        if rowcast_places is not null then
          rowcast_tried := array(
            select rowcast_all[p + 1]
              from unnest(rowcast_places[rowcast_from : rowcast_from + rowcast_count - 1]) with ordinality x(p, n)
             order by n);
          rowcast_is_whole := false;
        elsif rowcast_count < rowcast_total then
          rowcast_tried := rowcast_all[rowcast_from : rowcast_from + rowcast_count - 1];
          rowcast_is_whole := false;
        elsif not rowcast_is_whole then
          rowcast_tried := rowcast_all;
          rowcast_is_whole := true;
        end if;
      end if;
      begin
        if rowcast_bad <> '{}' and exists (
          select from generate_series(rowcast_from, rowcast_from + rowcast_count - 1) n
           where coalesce(rowcast_places[n] + 1, n) = any (rowcast_bad))
        then
          raise data_exception;
        end if;
        perform
          set_config('request.jwt.claims', rowcast_claims[greatest(rowcast_turn, 1)], true),
          set_config('request.jwt.claim.sub', rowcast_subs[greatest(rowcast_turn, 1)], true),
          set_config('request.jwt.claim.role', rowcast_role, true),
          set_config('role', case when rowcast_turn = 0 then 'none' else rowcast_role end, true),
          set_config('search_path', current_setting('rowcast.schemas'), true);
        %2$s
        raise exception using errcode = 'RC000';
      exception
        when sqlstate 'RC000' then
          rowcast_from := rowcast_from + rowcast_count;
          rowcast_bits := rowcast_bits || rowcast_saw;
          rowcast_size := least(rowcast_size * 2, rowcast_sizes[rowcast_turn]);
        when query_canceled then
          rowcast_cut := rowcast_count;
          if rowcast_turn > 0 then
            rowcast_seen := array_append(rowcast_seen, rowcast_bits);
          end if;
          exit turns;
        when assert_failure or others then
          get stacked diagnostics rowcast_state = returned_sqlstate;
          if rowcast_turn = 0 and rowcast_state in ('42601', '42703', '42704', '42804', '42846', '42883', '42P01') then
            -- The condition does not even read, as one with a system column; no asker would fare better.
            raise;
          elsif rowcast_count > 1 then
            rowcast_size := greatest(1, rowcast_count / 4);
          elsif rowcast_count = 1 then
            if rowcast_state <> all (rowcast_states) then
              rowcast_states := array_append(rowcast_states, rowcast_state);
            end if;
            rowcast_bits := rowcast_bits || '!';
            rowcast_from := rowcast_from + 1;
          end if;
      end;
      exit when rowcast_turn = 0;
    end loop;
    if rowcast_turn = 0 then
      perform set_config('plan_cache_mode', %3$L, true);
    else
      rowcast_seen := array_append(rowcast_seen, rowcast_bits);
    end if;
    rowcast_turn := rowcast_turn + 1;
  end loop;
  perform set_config('rowcast.answer', json_build_object(
    'seen', rowcast_seen, 'states', rowcast_states, 'cut', rowcast_cut)::text, true);
end
