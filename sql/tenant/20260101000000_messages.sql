-- The table through which databases broadcast and against whose policies
-- private channels are authorised. Row security is on and there is no policy:
-- nothing is allowed until an application says so.
create table if not exists realtime.messages (
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp not null default now(),
  inserted_at timestamp not null default now(),
  id uuid not null default gen_random_uuid(),
  binary_payload bytea,
  primary key (id, inserted_at)
) partition by range (inserted_at);

do $$
begin
  -- A database of Supabase Realtime from before binary payloads.
  if not exists (
    select from pg_attribute
    where attrelid = 'realtime.messages'::regclass and attname = 'binary_payload' and not attisdropped
  ) then
    alter table realtime.messages add column binary_payload bytea;
  end if;

  if not (select relrowsecurity from pg_class where oid = 'realtime.messages'::regclass) then
    alter table realtime.messages enable row level security;
  end if;

  -- Not valid: rows of a database that is taken over are not looked at.
  if not exists (
    select from pg_constraint
    where conrelid = 'realtime.messages'::regclass and conname = 'messages_payload_exclusive'
  ) then
    alter table realtime.messages add constraint messages_payload_exclusive
      check (payload is null or binary_payload is null) not valid;
  end if;

  -- For replay, which reads the newest private broadcasts of a topic.
  if to_regclass('realtime.messages_inserted_at_topic_index') is null then
    create index messages_inserted_at_topic_index on realtime.messages (inserted_at desc, topic)
      where extension = 'broadcast' and private is true;
  end if;
end $$;
