-- Tenants, their databases and flags, in the form in which Supabase Realtime
-- keeps them, so that either server can use what the other wrote. A table that
-- is there stays as it is.
do $$
begin
  if to_regclass('tenants') is null then
    create table tenants (
      id uuid primary key,
      name text,
      external_id text,
      jwt_secret text,
      jwt_jwks jsonb,
      postgres_cdc_default text default 'postgres_cdc_rls',
      max_concurrent_users integer not null default 200,
      max_events_per_second integer not null default 100,
      max_bytes_per_second integer not null default 100000,
      max_channels_per_client integer not null default 100,
      max_joins_per_second integer not null default 500,
      max_presence_events_per_second integer default 1000,
      max_payload_size_in_kb integer default 3000,
      max_client_presence_events_per_window integer,
      client_presence_window_ms integer,
      presence_enabled boolean not null default false,
      private_only boolean not null default false,
      suspend boolean default false,
      notify_private_alpha boolean default false,
      migrations_ran integer default 0,
      broadcast_adapter varchar(255) default 'gen_rpc',
      feature_flags jsonb not null default '{}',
      gcm_migrated_at timestamp(0),
      inserted_at timestamp(0) not null,
      updated_at timestamp(0) not null,
      constraint jwt_secret_or_jwt_jwks_required check (jwt_secret is not null or jwt_jwks is not null)
    );
    create unique index tenants_external_id_index on tenants (external_id);
  end if;

  if to_regclass('extensions') is null then
    create table extensions (
      id uuid primary key,
      type text,
      settings jsonb,
      tenant_external_id text references tenants (external_id) on delete cascade,
      inserted_at timestamp(0) not null,
      updated_at timestamp(0) not null
    );
    create unique index extensions_tenant_external_id_type_index
      on extensions (tenant_external_id, type);
  end if;

  if to_regclass('feature_flags') is null then
    create table feature_flags (
      id uuid primary key,
      name varchar(255) not null,
      enabled boolean not null default false,
      rollout_percentage integer not null default 100
        constraint rollout_percentage_must_be_between_0_and_100
        check (rollout_percentage between 0 and 100),
      bucket_key varchar(255),
      inserted_at timestamp(0) not null,
      updated_at timestamp(0) not null
    );
    create unique index feature_flags_name_index on feature_flags (name);
  end if;
end $$;
