-- Filters of subscriptions, for those who use the table of subscriptions from
-- SQL. Not for a database of Supabase Realtime, which has its own.
do $$
begin
  if to_regclass('realtime.schema_migrations') is not null then
    return;
  end if;

  -- Text of a value to JSON of its type. Bytes stay as they are written.
  if to_regprocedure('realtime."cast"(text, regtype)') is null then
    create function realtime."cast"(val text, type_ regtype) returns jsonb language plpgsql immutable as $f$
    declare
      result jsonb;
    begin
      if type_ = 'bytea'::regtype then
        return to_jsonb(val);
      end if;
      -- With -1 for "no length": plain `character` would be one character.
      execute format('select to_jsonb(%L::%s)', val, format_type(type_::oid, -1)) into result;
      return result;
    end
    $f$;
  end if;

  -- Null if a value is null, as in SQL.
  if to_regprocedure('realtime.check_equality_op(realtime.equality_op, regtype, text, text, boolean)') is null then
    create function realtime.check_equality_op(
      op realtime.equality_op, type_ regtype, val_1 text, val_2 text, negate boolean
    ) returns boolean language plpgsql stable as $f$
    declare
      type_name text := format_type(type_::oid, -1);
      condition text;
      result boolean;
    begin
      condition := case op
        when 'eq' then format('%1$L::%3$s = %2$L::%3$s', val_1, val_2, type_name)
        when 'neq' then format('%1$L::%3$s <> %2$L::%3$s', val_1, val_2, type_name)
        when 'lt' then format('%1$L::%3$s < %2$L::%3$s', val_1, val_2, type_name)
        when 'lte' then format('%1$L::%3$s <= %2$L::%3$s', val_1, val_2, type_name)
        when 'gt' then format('%1$L::%3$s > %2$L::%3$s', val_1, val_2, type_name)
        when 'gte' then format('%1$L::%3$s >= %2$L::%3$s', val_1, val_2, type_name)
        when 'in' then format('%1$L::%3$s = any (%2$L::%3$s[])', val_1, val_2, type_name)
        when 'like' then format('%L::text like %L', val_1, val_2)
        when 'ilike' then format('%L::text ilike %L', val_1, val_2)
        when 'match' then format('%L::text ~ %L', val_1, val_2)
        when 'imatch' then format('%L::text ~* %L', val_1, val_2)
        when 'isdistinct' then
          format('%1$L::%3$s is distinct from %2$L::%3$s', val_1, val_2, type_name)
        when 'is' then
          case val_2
            when 'null' then format('%L::text is null', val_1)
            when 'true' then format('%L::boolean is true', val_1)
            when 'false' then format('%L::boolean is false', val_1)
            when 'unknown' then format('%L::boolean is unknown', val_1)
          end
      end;
      if condition is null then
        raise exception 'invalid value for is filter: must be null, true, false, or unknown';
      end if;
      execute format('select %s (%s)', case when negate then 'not' else '' end, condition) into result;
      return result;
    end
    $f$;
  end if;

  -- The older form, whose callers declare it immutable.
  if to_regprocedure('realtime.check_equality_op(realtime.equality_op, regtype, text, text)') is null then
    create function realtime.check_equality_op(
      op realtime.equality_op, type_ regtype, val_1 text, val_2 text
    ) returns boolean language plpgsql immutable as $f$
    begin
      if op not in ('eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in') then
        raise exception 'operator % needs the form with negate', op;
      end if;
      return realtime.check_equality_op(op, type_, val_1, val_2, false);
    end
    $f$;
  end if;

  -- All filters must be true; a column that the row does not have makes none true.
  if to_regprocedure('realtime.is_visible_through_filters(realtime.wal_column[], realtime.user_defined_filter[])') is null then
    create function realtime.is_visible_through_filters(
      columns realtime.wal_column[], filters realtime.user_defined_filter[]
    ) returns boolean language plpgsql stable as $f$
    declare
      wanted realtime.user_defined_filter;
      found_column realtime.wal_column;
    begin
      foreach wanted in array coalesce(filters, '{}') loop
        select c.* into found_column from unnest(columns) c where c.name = wanted.column_name;
        if not found or realtime.check_equality_op(
          wanted.op, found_column.type_oid::regtype, found_column.value #>> '{}', wanted.value,
          coalesce(wanted.negate, false)
        ) is not true then
          return false;
        end if;
      end loop;
      return true;
    end
    $f$;
  end if;

  -- Refuses what could never work, and sorts, so that order makes no difference.
  if to_regprocedure('realtime.subscription_check_filters()') is null then
    create function realtime.subscription_check_filters() returns trigger language plpgsql as $f$
    declare
      role regrole := realtime.to_regrole(new.claims ->> 'role');
      wanted realtime.user_defined_filter;
      selected text;
      column_type regtype;
      checked boolean;
      words text[];
    begin
      foreach wanted in array new.filters loop
        select a.atttypid into column_type from pg_attribute a
          where a.attrelid = new.entity and a.attname = wanted.column_name and a.attnum > 0
            and not a.attisdropped and has_column_privilege(role, new.entity, a.attnum, 'SELECT');
        if not found then
          raise exception 'invalid column for filter %', wanted.column_name;
        end if;
        if wanted.op in ('like', 'ilike', 'match', 'imatch') then
          if column_type not in ('text'::regtype, 'name'::regtype, 'varchar'::regtype, 'bpchar'::regtype) then
            raise exception 'operator % requires a text-compatible column type, got %', wanted.op, column_type;
          end if;
          begin
            checked := wanted.op in ('like', 'ilike') or '' ~ wanted.value;
          exception when invalid_regular_expression then
            raise exception 'invalid regular expression for % filter: %', wanted.op, sqlerrm;
          end;
        elsif wanted.op = 'is' then
          if wanted.value is null or wanted.value not in ('null', 'true', 'false', 'unknown') then
            raise exception 'invalid value for is filter: must be null, true, false, or unknown';
          elsif wanted.value <> 'null' and column_type <> 'boolean'::regtype then
            raise exception 'is % filter requires a boolean column, got %', wanted.value, column_type;
          end if;
        elsif wanted.op = 'in' then
          words := wanted.value::text[];
          if cardinality(words) > 100 then
            raise exception 'too many values for `in` filter. Maximum 100';
          end if;
          perform realtime."cast"(word, column_type) from unnest(words) word;
        else
          perform realtime."cast"(wanted.value, column_type);
        end if;
      end loop;

      foreach selected in array coalesce(new.selected_columns, '{}') loop
        if not exists (
          select from pg_attribute a
          where a.attrelid = new.entity and a.attname = selected and a.attnum > 0
            and not a.attisdropped and has_column_privilege(role, new.entity, a.attnum, 'SELECT')
        ) then
          raise exception 'invalid column for select %', selected;
        end if;
      end loop;

      new.filters := coalesce((
        select array_agg(
          row(f.column_name, f.op, f.value, coalesce(f.negate, false))::realtime.user_defined_filter
          order by f.column_name, f.op, f.value, coalesce(f.negate, false)
        ) from unnest(new.filters) f
      ), '{}');
      new.selected_columns := (
        select array_agg(distinct s order by s) from unnest(new.selected_columns) s
      );
      return new;
    end
    $f$;
    create trigger tr_check_filters before insert or update on realtime.subscription
      for each row execute function realtime.subscription_check_filters();
  end if;
end $$;
