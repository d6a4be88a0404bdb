-- The user that Rowcast connects as, with what it needs and nothing more. Run it as
-- a superuser in the database that is to be served; running it again does no harm:
--
--     psql -v ON_ERROR_STOP=1 -f least-privilege.sql "postgres://postgres@HOST/DATABASE"
--     psql -c '\password rowcast' "postgres://postgres@HOST/DATABASE"
--
-- Then DATABASE_URL=postgres://rowcast:PASSWORD@HOST/DATABASE. The user may create
-- nothing outside the schema realtime, which is its own, reads no table of yours, and
-- passes by no policy. It can take the roles of clients, as policies are asked as
-- these; without INHERIT it has no right of theirs until it does.

-- NOINHERIT: see above. REPLICATION: to read the log.
do $$
begin
  if not exists (select from pg_roles where rolname = 'rowcast') then
    create role rowcast;
  end if;
end $$;
alter role rowcast
  login replication noinherit nosuperuser nocreatedb nocreaterole nobypassrls;

do $$
begin
  execute format('grant connect on database %I to rowcast', current_database());
end $$;

-- The roles that tokens name, as far as they are missing. Add your own, and name all
-- of them in ROWCAST_ALLOWED_ROLES.
do $$
declare
  client text;
begin
  foreach client in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_roles where rolname = client) then
      execute format('create role %I nologin noinherit', client);
      if client = 'service_role' then
        alter role service_role bypassrls;
      end if;
    end if;
    execute format('grant %I to rowcast', client);
    execute format('grant usage on schema public to %I', client);
  end loop;
end $$;

-- Policies are read and judged in a session of this user, which must be able to
-- resolve the names in them. Do the same for each further schema they refer to.
grant usage on schema public to rowcast;

-- What policies call, as far as it is missing.
create schema if not exists auth;
grant usage on schema auth to anon, authenticated, service_role, rowcast;
do $$
begin
  if to_regprocedure('auth.jwt()') is null then
    create function auth.jwt() returns jsonb language sql stable as $f$
      select nullif(current_setting('request.jwt.claims', true), '')::jsonb
    $f$;
  end if;
  if to_regprocedure('auth.uid()') is null then
    create function auth.uid() returns uuid language sql stable as $f$
      select nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid
    $f$;
  end if;
  if to_regprocedure('auth.role()') is null then
    create function auth.role() returns text language sql stable as $f$
      select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
    $f$;
  end if;
end $$;

-- Its own schema: the messages, their partitions, and the functions of Rowcast.
do $$
begin
  if to_regnamespace('realtime') is null then
    create schema realtime authorization rowcast;
  end if;
end $$;

-- Publications are made here, so that the user needs no CREATE on the database. What
-- is published is yours to say; the messages are published by Rowcast itself.
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  if not exists (
    select from pg_publication where pubname = 'supabase_realtime_messages_publication'
  ) then
    create publication supabase_realtime_messages_publication;
  end if;
  alter publication supabase_realtime_messages_publication owner to rowcast;
end $$;

-- Only where you use them:
--
-- The chat, which `rowcast migrate --chat` installs. Its tables are in public, so run
-- that command as a superuser or the owner of that schema and hand them over, or:
--     grant create on schema public to rowcast;
--
-- Generated columns of tables with row security, which are computed as the owner:
--     grant table_owner to rowcast;
