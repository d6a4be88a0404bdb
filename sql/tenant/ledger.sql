-- The schema and the list of what has been applied to it. Our own list: that
-- of Supabase Realtime (realtime.schema_migrations) is never touched.
do $$
begin
  -- Guarded, because "if not exists" asks for the privilege all the same.
  if to_regnamespace('realtime') is null then
    create schema realtime;
  end if;
  if to_regclass('realtime.rowcast_migrations') is null then
    create table realtime.rowcast_migrations (
      version text primary key,
      applied_at timestamptz not null default now()
    );
  end if;
end $$;
