-- Shards: rooms spread over several databases by bucket. A database that is not
-- one of several has these tables empty, and nothing here is asked.

-- A room's bucket, 0 to 4095: its uuid as a number of 128 bits, modulo
-- 2147483629, modulo 4096. The server computes the same.
create function chat.bucket(room uuid) returns integer
language plpgsql immutable strict parallel safe set search_path = '' as $$
declare
  hex text := replace(room::text, '-', '');
  number bigint := 0;
begin
  for part in 0..3 loop
    number := (number * 4294967296 + ('x' || substr(hex, 1 + 8 * part, 8))::bit(32)::bigint) % 2147483629;
  end loop;
  return number % 4096;
end $$;

-- The map, in the first shard alone. A change gets the next version, so that
-- servers read only what they do not know. `other` is where a bucket moves to
-- while it is `moving`, and where rows of it are left while it is `clearing`.
create table chat.buckets (
  bucket integer primary key check (bucket between 0 and 4095),
  shard integer not null check (shard >= 0),
  version bigint not null default 1,
  state text not null default 'open' check (state in ('open', 'moving', 'clearing')),
  other integer,
  check ((state = 'open') = (other is null))
);
create index buckets_version_index on chat.buckets (version);

-- Which shard this database is: one row or none.
create table chat.shard (
  number integer primary key check (number >= 0)
);
create unique index shard_is_one on chat.shard ((true));

-- The buckets whose rooms may be read here and, unless frozen, written. This and
-- not the map is what refuses.
create table chat.owned_buckets (
  bucket integer primary key,
  frozen boolean not null default false
);

-- A transaction that begins with a row here moves rooms: nothing happened in
-- them, and the stream tells nobody of it.
create table chat.moves (
  id bigint generated always as identity primary key,
  bucket integer not null,
  made_at timestamptz not null default now()
);
alter table chat.moves enable row level security;

-- Whether the session acts as the owner of the tables, also inside of functions.
create function chat.is_owner() returns boolean
language sql stable set search_path = '' as $$
  select pg_has_role(
    coalesce(nullif(current_setting('role'), 'none'), session_user::text)::name, c.relowner, 'usage')
  from pg_class c where c.oid = 'public.messages'::regclass
$$;

-- While the owner moves rooms, rows come and go as they are.
create or replace trigger number_message before insert on public.messages for each row
  when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
  execute function chat.number_message();
create or replace trigger count_messages after insert on public.messages
  referencing new table as added for each statement
  when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
  execute function chat.count_messages();
create or replace trigger forget_messages after delete on public.messages
  referencing old table as removed for each statement
  when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
  execute function chat.forget_messages();
create or replace trigger place_reaction before insert on public.message_reactions for each row
  when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
  execute function chat.place_reaction();
create or replace trigger start_member before insert on public.room_members for each row
  when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
  execute function chat.start_member();
create or replace trigger count_joined after insert on public.room_members
  referencing new table as joined for each statement
  when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
  execute function chat.count_joined();
create or replace trigger count_left after delete on public.room_members
  referencing old table as departed for each statement
  when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
  execute function chat.count_left();

-- Refuses what is not to be done in this shard. The lock is held to the end of
-- the transaction and makes a move wait for it; a transaction with one snapshot
-- for all of its statements would not see a move, hence the lock on the row.
create function chat.check_bucket(bucket integer, writes boolean) returns void
language plpgsql security definer set search_path = '' as $$
declare
  frozen boolean;
begin
  perform pg_advisory_xact_lock_shared(1667785076, bucket);
  if current_setting('transaction_isolation') = 'read committed' then
    select o.frozen into frozen from chat.owned_buckets o where o.bucket = check_bucket.bucket;
  else
    select o.frozen into frozen from chat.owned_buckets o where o.bucket = check_bucket.bucket for share;
  end if;
  if frozen is null then
    perform chat.refuse('PT503', 'The room is in another shard.');
  elsif frozen and writes then
    perform chat.refuse('PT503', 'The room is on its way to another shard.');
  end if;
end $$;

create function chat.fence_room() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    perform chat.check_bucket(chat.bucket(old.id), true);
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  perform chat.check_bucket(chat.bucket(new.id), true);
  return new;
end $$;

create function chat.fence() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    perform chat.check_bucket(chat.bucket(old.room_id), true);
  end if;
  if tg_op = 'DELETE' then
    return old;
  elsif new.room_id is not null then
    perform chat.check_bucket(chat.bucket(new.room_id), true);
  end if;
  return new;
end $$;

-- Gives every bucket its first shard. A database that has rooms keeps them.
create function chat.lay_out(shards integer) returns void
language plpgsql set search_path = '' as $$
begin
  if not exists (select from chat.buckets) then
    insert into chat.buckets (bucket, shard)
    select b, case when exists (select from public.rooms) then 0 else b % shards end
    from generate_series(0, 4095) b;
  end if;
end $$;

-- Makes this database one of several, once: it owns these buckets from then on.
-- Whichever publication is read now has to have what tells of moves.
create function chat.become_shard(number integer, buckets integer[], publication text) returns void
language plpgsql set search_path = '' as $$
declare
  known integer := (select s.number from chat.shard s);
  guarded text;
begin
  if known <> become_shard.number then
    raise exception using errcode = 'RC001', message = format(
      'this database is shard %s of a chat and not %s; shards keep their places in the list', known, number);
  end if;
  if not exists (
    select from pg_publication_tables p
    where p.pubname = publication and p.schemaname = 'chat' and p.tablename = 'moves'
  ) then
    execute format('alter publication %I add table chat.moves', publication);
  end if;
  if known is not null then
    return;
  end if;
  foreach guarded in array array[
    'room_members', 'messages', 'message_receipts', 'message_reactions', 'message_revisions'
  ] loop
    -- After the triggers that find a row's room, and else before all others.
    execute format('create trigger %I before insert or update or delete on public.%I for each row
      when (current_setting(''chat.moving'', true) is distinct from ''on'' or not chat.is_owner())
      execute function chat.fence()',
      case guarded when 'message_reactions' then 'z_fence' else '_fence' end, guarded);
  end loop;
  create trigger _fence before insert or update or delete on public.rooms for each row
    when (current_setting('chat.moving', true) is distinct from 'on' or not chat.is_owner())
    execute function chat.fence_room();
  if exists (select from public.rooms r where chat.bucket(r.id) <> all (buckets)) then
    raise exception using errcode = 'RC001', message = format(
      'this database has rooms that belong to other shards, so it cannot be shard %s', number);
  end if;
  create index rooms_bucket_index on public.rooms (chat.bucket(id));
  insert into chat.owned_buckets (bucket) select unnest(buckets);
  insert into chat.shard (number) values (become_shard.number);
end $$;

revoke all on chat.buckets, chat.shard, chat.owned_buckets, chat.moves from public, anon, authenticated;
revoke all on function chat.bucket(uuid), chat.is_owner(), chat.check_bucket(integer, boolean),
  chat.fence(), chat.fence_room(), chat.lay_out(integer), chat.become_shard(integer, integer[], text) from public;
-- Triggers and an index ask these as whoever writes.
grant execute on function chat.bucket(uuid), chat.is_owner() to anon, authenticated, service_role;
