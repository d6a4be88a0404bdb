-- Rooms and their members.

-- A room as its reader sees it. For a member also the role, the cursors and how
-- many messages of others came after the one that was read last, at most 1000.
create function chat.room_json(room public.rooms) returns jsonb
language sql stable set search_path = '' as $$
  select to_jsonb(room) || jsonb_build_object(
    'role', m.role, 'last_delivered_seq', m.last_delivered_seq, 'last_read_seq', m.last_read_seq,
    'unread_count', (
      select count(*) from (
        select from public.messages u
        where u.room_id = room.id and u.seq > m.last_read_seq and u.sender_id <> m.user_id and u.deleted_at is null
        limit 1000
      ) unread
    ),
    'last_message', (
      select chat.message_json(l) from public.messages l
      where l.room_id = room.id order by l.room_id desc, l.seq desc limit 1
    )
  )
  from (select) one left join public.room_members m on m.room_id = room.id and m.user_id = chat.user_id()
$$;

create function chat.room(room uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return chat.room_json(chat.readable(room));
end $$;

-- My rooms, the newest message first. `next` is the `before` of the next page.
create function chat.rooms("limit" integer default 50, before text default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  size integer := least(greatest(coalesce("limit", 50), 1), 100);
  page jsonb;
  next text;
  last_at timestamptz;
  last_id uuid;
begin
  if before ~ '^\d{1,18}_[0-9a-f-]{36}$' then
    last_at := timestamptz 'epoch' + split_part(before, '_', 1)::bigint * interval '1 microsecond';
    last_id := split_part(before, '_', 2)::uuid;
  elsif before is not null then
    perform chat.refuse('PT400', 'before is not the next of an earlier page.');
  end if;
  with mine as (
    select r as room, coalesce(r.last_message_at, r.created_at) as at
    from public.room_members m join public.rooms r on r.id = m.room_id
    where m.user_id = chat.user_id()
  ), found as (
    select * from mine
    where last_at is null or (at, (room).id) < (last_at, last_id)
    order by at desc, (room).id desc limit size + 1
  ), numbered as (
    select *, row_number() over (order by at desc, (room).id desc) as n, count(*) over () as total from found
  )
  select coalesce(jsonb_agg(chat.room_json(room) order by n) filter (where n <= size), '[]'),
    max((extract(epoch from at) * 1000000)::bigint || '_' || (room).id) filter (where n = size and total > size)
  into page, next
  from numbered;
  return jsonb_build_object('rooms', page, 'next', next);
end $$;

-- Makes a room that the caller owns. A retry with the same id returns the first.
create function chat.create_room(
  id uuid default null, name text default null, visibility text default 'private', members uuid[] default '{}'
) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.user_id();
  room uuid := coalesce(create_room.id, gen_random_uuid());
begin
  if me is null then
    perform chat.refuse('PT403', 'Sign in to make a room.');
  elsif coalesce(create_room.visibility, 'private') not in ('private', 'public') then
    perform chat.refuse('PT400', 'A room is private or public.');
  elsif char_length(create_room.name) not between 1 and 200 then
    perform chat.refuse('PT400', 'The name of a room has 1 to 200 characters.');
  elsif cardinality(members) > 1000 then
    perform chat.refuse('PT400', 'A room starts with at most 1,000 members.');
  end if;
  insert into public.rooms (id, name, visibility, created_by)
    values (room, create_room.name, coalesce(create_room.visibility, 'private'), me)
    on conflict do nothing; -- a conflict target would ask the policies for reading, too early
  if not found then
    if exists (select from public.rooms r where r.id = room and r.created_by = me) then
      return chat.room(room) || '{"duplicate": true}';
    end if;
    perform chat.refuse('PT409', 'Another room has this id.');
  end if;
  insert into public.room_members (room_id, user_id)
    select distinct room, u from unnest(members) u where u <> me;
  return chat.room(room);
end $$;

-- Joins a public room. For a member it only brings the name up to date.
create function chat.join_room(room uuid) returns jsonb
language plpgsql set search_path = '' as $$
declare
  me uuid := chat.user_id();
begin
  if me is null then
    perform chat.refuse('PT403', 'Sign in to join a room.');
  elsif not chat.may_read(room) then
    perform chat.refuse('PT404', 'There is no such room.');
  end if;
  insert into public.room_members (room_id, user_id, name) values (room, me, chat.user_name())
    on conflict do nothing; -- as above
  if not found and chat.user_name() <> '' then
    update public.room_members m set name = chat.user_name()
    where m.room_id = room and m.user_id = me and m.name <> chat.user_name();
  end if;
  return chat.room(room);
end $$;

create function chat.leave_room(room uuid) returns jsonb
language plpgsql set search_path = '' as $$
begin
  perform chat.lock_room(room);
  delete from public.room_members m where m.room_id = room and m.user_id = chat.user_id();
  return jsonb_build_object('room_id', room, 'user_id', chat.user_id(), 'changed', found);
end $$;

-- A member of the room as other members see them.
create function chat.member_json(member public.room_members) returns jsonb
language sql stable set search_path = '' as $$
  select to_jsonb(member) - 'room_id'
$$;

-- Brings somebody into the room. Who is a member already stays as they are.
create function chat.invite(room uuid, user_id uuid, name text default '', role text default 'member') returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.member_of(room, 'invite');
  my_role text := chat.my_role(room);
  member public.room_members;
begin
  if invite.user_id is null then
    perform chat.refuse('PT400', 'An invitation needs a user.');
  elsif coalesce(invite.role, 'member') not in ('owner', 'admin', 'member') then
    perform chat.refuse('PT400', 'A role is owner, admin or member.');
  elsif char_length(invite.name) > 100 then
    perform chat.refuse('PT400', 'A name has at most 100 characters.');
  elsif my_role = 'member' then
    perform chat.refuse('PT403', 'Only an owner or an admin may invite.');
  elsif my_role <> 'owner' and invite.role = 'owner' then
    perform chat.refuse('PT403', 'Only an owner may make an owner.');
  end if;
  insert into public.room_members (room_id, user_id, name, role)
    values (room, invite.user_id, coalesce(invite.name, ''), coalesce(invite.role, 'member'))
    on conflict (room_id, user_id) do nothing
    returning * into member;
  if found then
    return chat.member_json(member);
  end if;
  select * into member from public.room_members m where m.room_id = room and m.user_id = invite.user_id;
  return chat.member_json(member) || '{"duplicate": true}';
end $$;

create function chat.remove_member(room uuid, user_id uuid) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.member_of(room, 'remove anybody');
  gone boolean;
begin
  perform chat.lock_room(room);
  delete from public.room_members m where m.room_id = room and m.user_id = remove_member.user_id;
  gone := found;
  if not gone and exists (
    select from public.room_members m where m.room_id = room and m.user_id = remove_member.user_id
  ) then
    perform chat.refuse('PT403', 'Your role in this room does not allow that.');
  end if;
  return jsonb_build_object('room_id', room, 'user_id', remove_member.user_id, 'changed', gone);
end $$;

-- Members by name, those whose name begins with `prefix`. `next` is the `after`
-- of the next page.
create function chat.members(
  room uuid, prefix text default '', after text default null, "limit" integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  size integer := least(greatest(coalesce("limit", 50), 1), 100);
  pattern text := replace(replace(replace(lower(coalesce(prefix, '')), '\', '\\'), '%', '\%'), '_', '\_') || '%';
  last_id uuid;
  last_name text;
  page jsonb;
  next text;
begin
  if not chat.is_unbound() then
    perform chat.member_of(room, 'see the members');
  end if;
  if after ~ '^[0-9a-f-]{36}_' then
    last_id := left(after, 36)::uuid;
    last_name := substr(after, 38);
  elsif after is not null then
    perform chat.refuse('PT400', 'after is not the next of an earlier page.');
  end if;
  with found as (
    select m as member, lower(m.name) collate "C" as key, m.user_id
    from public.room_members m
    where m.room_id = room and lower(m.name) collate "C" like pattern
      and (last_id is null or (lower(m.name) collate "C", m.user_id) > (last_name, last_id))
    order by lower(m.name) collate "C", m.user_id limit size + 1
  ), numbered as (
    select *, row_number() over (order by key, user_id) as n, count(*) over () as total from found
  )
  select coalesce(jsonb_agg(chat.member_json(member) order by n) filter (where n <= size), '[]'),
    max(user_id || '_' || key) filter (where n = size and total > size)
  into page, next
  from numbered;
  return jsonb_build_object('members', page, 'next', next);
end $$;

-- Those of `ids` who share a room with the caller.
create function chat.shared_users(ids uuid[]) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(i.id), '[]')
  from (select distinct unnest(ids)) i (id)
  where exists (
    select from public.room_members theirs join public.room_members mine on mine.room_id = theirs.room_id
    where theirs.user_id = i.id and mine.user_id = chat.user_id()
  )
$$;

-- The rooms of a user, for the server.
create function chat.rooms_of(user_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(m.room_id), '[]') from public.room_members m where m.user_id = rooms_of.user_id
$$;
