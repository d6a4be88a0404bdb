-- The tables in the publication that the setting chat.publication names. Each
-- publication gets them once, so that who takes a table out later has his way.
do $$
declare
  wanted text := current_setting('chat.publication');
  missing regclass;
begin
  if exists (select from chat.schema_migrations where version = 'publication/' || wanted) then
    return;
  end if;
  if not exists (select from pg_publication where pubname = wanted) then
    execute format('create publication %I', wanted);
  end if;
  for missing in
    select t from unnest(array['public.messages', 'public.room_members', 'public.message_reactions', 'chat.closings']::regclass[]) t
    where not exists (
      select from pg_publication_tables p
      where p.pubname = wanted and format('%I.%I', p.schemaname, p.tablename)::regclass = t
    )
  loop
    execute format('alter publication %I add table %s', wanted, missing);
  end loop;
  insert into chat.schema_migrations (version) values ('publication/' || wanted);
end $$;
