-- Types and the table that dashboards and older applications refer to. Rowcast
-- keeps its subscriptions in memory and writes nothing here. A database that
-- Supabase Realtime prepared has its own, which later versions of it may
-- change, so nothing is added there.
do $$
begin
  if to_regclass('realtime.schema_migrations') is not null then
    return;
  end if;

  if to_regtype('realtime.action') is null then
    create type realtime.action as enum ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'ERROR');
  end if;
  if to_regtype('realtime.equality_op') is null then
    create type realtime.equality_op as enum
      ('eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in', 'like', 'ilike', 'is', 'match', 'imatch', 'isdistinct');
  end if;
  if to_regtype('realtime.user_defined_filter') is null then
    create type realtime.user_defined_filter as (
      column_name text, op realtime.equality_op, value text, negate boolean
    );
  end if;
  if to_regtype('realtime.wal_column') is null then
    create type realtime.wal_column as (
      name text, type_name text, type_oid oid, value jsonb, is_pkey boolean, is_selectable boolean
    );
  end if;
  if to_regtype('realtime.wal_rls') is null then
    create type realtime.wal_rls as (
      wal jsonb, is_rls_enabled boolean, subscription_ids uuid[], errors text[]
    );
  end if;

  -- Immutable for the generated column below: what a name means changes only
  -- with the role itself.
  if to_regprocedure('realtime.to_regrole(text)') is null then
    create function realtime.to_regrole(role_name text) returns regrole language sql immutable as $f$
      select quote_ident(role_name)::regrole
    $f$;
  end if;

  if to_regclass('realtime.subscription') is null then
    create table realtime.subscription (
      id bigint generated always as identity constraint pk_subscription primary key,
      subscription_id uuid not null,
      entity regclass not null,
      filters realtime.user_defined_filter[] not null default '{}',
      claims jsonb not null,
      claims_role regrole not null generated always as (realtime.to_regrole(claims ->> 'role')) stored,
      created_at timestamp not null default timezone('utc', now()),
      action_filter text default '*'
        constraint subscription_action_filter_check check (action_filter in ('*', 'INSERT', 'UPDATE', 'DELETE')),
      selected_columns text[]
    );
    create index ix_realtime_subscription_entity on realtime.subscription (entity);
    create unique index subscription_subscription_id_entity_filters_key on realtime.subscription
      (subscription_id, entity, filters, action_filter, coalesce(selected_columns, '{}'));
  end if;
end $$;
