-- What the roles of clients need. Each role gets it once, when it is first
-- seen, so that a REVOKE made later stays. In a database of Supabase Realtime
-- the roles already have what its owner wants them to have.
do $$
declare
  client text;
begin
  if to_regclass('realtime.schema_migrations') is not null then
    return;
  end if;
  for client in
    select rolname from pg_roles
    where rolname in ('anon', 'authenticated', 'service_role')
      and 'grants/' || rolname not in (select version from realtime.rowcast_migrations)
  loop
    execute format('grant usage on schema realtime to %I', client);
    execute format('grant select, insert, update on realtime.messages to %I', client);
    execute format('grant select on realtime.subscription to %I', client);
    insert into realtime.rowcast_migrations (version) values ('grants/' || client);
  end loop;

  if exists (select from pg_roles where rolname = 'supabase_realtime_admin')
    and not exists (select from realtime.rowcast_migrations where version = 'grants/supabase_realtime_admin')
  then
    grant usage, create on schema realtime to supabase_realtime_admin;
    grant select, insert, update, delete, trigger, truncate
      on realtime.messages, realtime.subscription to supabase_realtime_admin;
    insert into realtime.rowcast_migrations (version) values ('grants/supabase_realtime_admin');
  end if;
end $$;
