-- The list of what has been applied to the schema of the control database, in
-- the search path of this transaction. Our own list: that of Supabase Realtime
-- (schema_migrations) is never touched.
do $$
begin
  if to_regclass('rowcast_migrations') is null then
    create table rowcast_migrations (
      version text primary key,
      applied_at timestamptz not null default now()
    );
  end if;
end $$;
