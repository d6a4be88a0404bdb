-- Reading. These ask once whether the caller may read the room and then read as
-- the owner; under the policies it would be asked for each row. Being stable,
-- each sees one moment: `head` belongs to the messages beside it.

create function chat.head(room public.rooms) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object('seq', room.last_seq, 'rev', room.last_rev)
$$;

-- A message with its reactions: each emoji with the count, the first ten users
-- and whether the caller is one.
create function chat.full_message(message public.messages) returns jsonb
language sql stable set search_path = '' as $$
  select chat.message_json(message) || jsonb_build_object('reactions', coalesce((
    select jsonb_agg(
      jsonb_build_object('emoji', e.emoji, 'count', e.count, 'users', e.users, 'mine', coalesce(e.mine, false))
      order by e.first, e.emoji)
    from (
      select r.emoji, count(*) as count, min(r.created_at) as first,
        (array_agg(r.user_id order by r.created_at, r.user_id))[1:10] as users,
        bool_or(r.user_id = chat.user_id()) as mine
      from public.message_reactions r
      where r.room_id = message.room_id and r.message_id = message.id and message.deleted_at is null
      group by r.emoji
    ) e
  ), '[]'))
$$;

-- A page of at most 100 messages, oldest first: the newest, those before a `seq`,
-- or those after one. `has_more` says whether there are more in that direction.
create function chat.history(
  room uuid, before bigint default null, after bigint default null, "limit" integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  here public.rooms := chat.readable(room);
  size integer := least(greatest(coalesce("limit", 50), 1), 100);
  page public.messages[];
  more boolean;
  answer jsonb;
begin
  if before is not null and after is not null then
    perform chat.refuse('PT400', 'Give before or after, not both.');
  elsif after is not null then
    page := array(
      select m from public.messages m where m.room_id = room and m.seq > after
      order by m.room_id, m.seq limit size + 1);
  elsif before is not null then
    page := array(
      select m from public.messages m where m.room_id = room and m.seq < before
      order by m.room_id desc, m.seq desc limit size + 1);
  else
    page := array(
      select m from public.messages m where m.room_id = room
      order by m.room_id desc, m.seq desc limit size + 1);
  end if;
  more := cardinality(page) > size;
  select coalesce(jsonb_agg(chat.full_message(p) order by p.seq), '[]') into answer from unnest(page[1:size]) p;
  return jsonb_build_object('messages', answer, 'has_more', more, 'head', chat.head(here));
end $$;

-- What changed after `rev`, or came after `seq`, in the order of `seq`. `limited`:
-- it is too much, or the client knows more than this database; read the history anew.
create function chat.resume(room uuid, seq bigint, rev bigint default null, "limit" integer default 1000) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  here public.rooms := chat.readable(room);
  size integer := least(greatest(coalesce("limit", 1000), 1), 1000);
  missed public.messages[];
  limited boolean;
  answer jsonb := '[]';
begin
  if resume.seq is null and resume.rev is null then
    perform chat.refuse('PT400', 'Give the seq or the rev that you have.');
  end if;
  limited := coalesce(resume.seq > here.last_seq, false) or coalesce(resume.rev > here.last_rev, false);
  if not limited then
    missed := array(
      (select m from public.messages m where m.room_id = room and m.rev > resume.rev
        order by m.room_id, m.rev limit size + 1)
      union
      (select m from public.messages m where m.room_id = room and m.seq > resume.seq
        order by m.room_id, m.seq limit size + 1)
      limit size + 1);
    limited := cardinality(missed) > size;
  end if;
  if not limited then
    select coalesce(jsonb_agg(chat.full_message(p) order by p.seq), '[]') into answer from unnest(missed) p;
  end if;
  return jsonb_build_object('messages', answer, 'head', chat.head(here), 'limited', limited);
end $$;

-- Who has got and read a message: counts of the members but its sender, from the
-- cursors; and one entry for each receipt, of which large rooms have none.
create function chat.receipts(room uuid, message_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  message public.messages;
  answer jsonb;
begin
  if not chat.is_unbound() then
    perform chat.member_of(room, 'see receipts');
  end if;
  message := chat.message_of(room, receipts.message_id);
  select jsonb_build_object(
    'members', count(*),
    'delivered', count(*) filter (where m.last_delivered_seq >= message.seq),
    'read', count(*) filter (where m.last_read_seq >= message.seq)
  ) into answer
  from public.room_members m where m.room_id = room and m.user_id <> message.sender_id;
  return answer || jsonb_build_object('receipts', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'user_id', t.user_id, 'name', coalesce(m.name, ''), 'delivered_at', t.delivered_at, 'read_at', t.read_at
    ) order by t.delivered_at, t.user_id), '[]')
    from public.message_receipts t
    left join public.room_members m on m.room_id = t.room_id and m.user_id = t.user_id
    where t.room_id = room and t.message_id = message.id
  ));
end $$;
