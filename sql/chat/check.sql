-- What has to be so before the chat is installed. Names that somebody else
-- took are refused before anything is changed.
do $$
declare
  taken text;
  missing text;
begin
  if to_regclass('chat.schema_migrations') is not null then
    return;
  end if;
  if to_regnamespace('chat') is not null and exists (
    select from pg_class where relnamespace = to_regnamespace('chat')
    union all
    select from pg_proc where pronamespace = to_regnamespace('chat')
  ) then
    raise exception using errcode = 'RC001',
      message =
      'there is a schema chat that is not ours, so the chat cannot be installed and nothing was changed; rename it, or give the chat a database of its own';
  end if;
  select string_agg(relname, ', ' order by relname) into taken
  from pg_class
  where relnamespace = 'public'::regnamespace and relname in (
    'rooms', 'room_members', 'messages', 'message_receipts', 'message_reactions', 'message_revisions'
  );
  if taken is not null then
    raise exception using errcode = 'RC001', message = format(
      'the schema public has something of its own named %s, so the chat cannot be installed and nothing was changed; rename it, or give the chat a database of its own',
      taken);
  end if;
  select string_agg(wanted, ', ') into missing
  from unnest(array['anon', 'authenticated', 'service_role']) wanted
  where not exists (select from pg_roles where rolname = wanted);
  if missing is not null then
    raise exception using errcode = 'RC001', message = format(
      'the chat needs the roles anon, authenticated and service_role, but %s is missing; --create-roles makes them',
      missing);
  end if;
end $$;
