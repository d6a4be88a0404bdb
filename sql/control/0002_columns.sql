-- Columns that an older Supabase Realtime did not have yet. Each is marked: its
-- own migrations would fail on a column that is there, so whoever goes back to a
-- newer version of it finds what to remove first.
do $$
declare
  missing record;
begin
  for missing in
    select name, definition
    from (values
      ('name', 'text'),
      ('jwt_secret', 'text'),
      ('jwt_jwks', 'jsonb'),
      ('postgres_cdc_default', 'text default ''postgres_cdc_rls'''),
      ('max_concurrent_users', 'integer not null default 200'),
      ('max_events_per_second', 'integer not null default 100'),
      ('max_bytes_per_second', 'integer not null default 100000'),
      ('max_channels_per_client', 'integer not null default 100'),
      ('max_joins_per_second', 'integer not null default 500'),
      ('max_presence_events_per_second', 'integer default 1000'),
      ('max_payload_size_in_kb', 'integer default 3000'),
      ('max_client_presence_events_per_window', 'integer'),
      ('client_presence_window_ms', 'integer'),
      ('presence_enabled', 'boolean not null default false'),
      ('private_only', 'boolean not null default false'),
      ('suspend', 'boolean default false'),
      ('migrations_ran', 'integer default 0'),
      ('broadcast_adapter', 'varchar(255) default ''gen_rpc'''),
      ('feature_flags', 'jsonb not null default ''{}'''),
      ('gcm_migrated_at', 'timestamp(0)')
    ) as known (name, definition)
    where not exists (
      select from pg_attribute
      where attrelid = 'tenants'::regclass and attname = known.name and not attisdropped
    )
  loop
    execute format('alter table tenants add column %I %s', missing.name, missing.definition);
    execute format('comment on column tenants.%I is %L', missing.name, 'added by Rowcast');
  end loop;
end $$;
