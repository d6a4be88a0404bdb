-- What people do with messages. These run as the caller, so the policies decide;
-- their own questions are there to refuse in words.

-- A message as clients see it.
create function chat.message_json(message public.messages) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', message.id, 'room_id', message.room_id, 'seq', message.seq, 'rev', message.rev,
    'version', message.version, 'sender_id', message.sender_id, 'content', message.content,
    'reply_to', message.reply_to, 'created_at', message.created_at, 'edited_at', message.edited_at,
    'deleted_at', message.deleted_at
  )
$$;

create function chat.check_content(content text) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if content is null or content !~ '\S' then
    perform chat.refuse('PT400', 'A message needs some text.');
  elsif char_length(content) > 10000 then
    perform chat.refuse('PT400', 'A message has at most 10,000 characters.');
  end if;
end $$;

-- The message for the caller, refused where there is none.
create function chat.message_of(room uuid, message_id uuid) returns public.messages
language plpgsql stable set search_path = '' as $$
declare
  message public.messages;
begin
  select * into message from public.messages m where m.id = message_id and m.room_id = room;
  if message.id is null then
    perform chat.refuse('PT404', 'There is no such message.');
  end if;
  return message;
end $$;

-- Sends once: a retry with the same id returns the first message and "duplicate": true.
create function chat.send(room uuid, id uuid, content text, reply_to uuid default null) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.member_of(room, 'write');
  message public.messages;
begin
  if send.id is null then
    perform chat.refuse('PT400', 'A message needs an id.');
  end if;
  perform chat.check_content(send.content);
  if send.reply_to is not null and not exists (
    select from public.messages m where m.id = send.reply_to and m.room_id = room
  ) then
    perform chat.refuse('PT404', 'There is no such message to reply to.');
  end if;
  insert into public.messages (id, room_id, sender_id, content, reply_to)
    values (send.id, room, me, send.content, send.reply_to)
    on conflict (id) do nothing
    returning * into message;
  if found then
    return chat.message_json(message);
  end if;
  select * into message from public.messages m where m.id = send.id and m.room_id = room and m.sender_id = me;
  if not found then
    perform chat.refuse('PT409', 'Another message has this id.');
  end if;
  return chat.message_json(message) || '{"duplicate": true}';
end $$;

-- Replaces what version `version` says. A retry of an edit that was done is no conflict.
create function chat.edit(room uuid, id uuid, content text, version integer) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.member_of(room, 'edit');
  message public.messages;
begin
  if edit.version is null then
    perform chat.refuse('PT400', 'An edit needs the version that it replaces.');
  end if;
  perform chat.check_content(edit.content);
  update public.messages m set content = edit.content
  where m.id = edit.id and m.room_id = room and m.sender_id = me
    and m.version = edit.version and m.deleted_at is null
  returning * into message;
  if found then
    return chat.message_json(message);
  end if;
  message := chat.message_of(room, edit.id);
  if message.sender_id <> me then
    perform chat.refuse('PT403', 'Only its sender may edit a message.');
  elsif message.deleted_at is not null then
    perform chat.refuse('PT410', 'The message was deleted.', message.version::text);
  elsif message.version = edit.version + 1 and message.content = edit.content then
    return chat.message_json(message) || '{"duplicate": true}';
  end if;
  perform chat.refuse('PT409', 'The message was edited in the meantime.', message.version::text);
end $$;

-- Deletes softly: the place stays, the content goes. Without a version: whatever it says now.
create function chat.delete(room uuid, id uuid, version integer default null) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.member_of(room, 'delete');
  message public.messages;
begin
  update public.messages m set content = null, deleted_at = now()
  where m.id = "delete".id and m.room_id = room and m.deleted_at is null
    and m.version = coalesce("delete".version, m.version)
  returning * into message;
  if found then
    return chat.message_json(message);
  end if;
  message := chat.message_of(room, "delete".id);
  if message.deleted_at is not null then
    return chat.message_json(message) || '{"duplicate": true}';
  elsif message.sender_id <> me and chat.my_role(room) = 'member' then
    perform chat.refuse('PT403', 'Only its sender, an owner or an admin may delete a message.');
  end if;
  perform chat.refuse('PT409', 'The message was edited in the meantime.', message.version::text);
end $$;

create function chat.react(room uuid, id uuid, emoji text) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.member_of(room, 'react');
  message public.messages := chat.message_of(room, react.id);
begin
  if coalesce(react.emoji, '') = '' or octet_length(react.emoji) > 64 then
    perform chat.refuse('PT400', 'A reaction is an emoji of at most 64 bytes.');
  elsif message.deleted_at is not null then
    perform chat.refuse('PT410', 'The message was deleted.');
  end if;
  insert into public.message_reactions (room_id, message_id, user_id, emoji)
    values (room, react.id, me, react.emoji)
    on conflict (room_id, message_id, user_id, emoji) do nothing;
  return jsonb_build_object('room_id', room, 'message_id', react.id, 'user_id', me, 'emoji', react.emoji,
    'added', true, 'changed', found);
end $$;

create function chat.unreact(room uuid, id uuid, emoji text) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  me uuid := chat.member_of(room, 'react');
  message public.messages := chat.message_of(room, unreact.id);
begin
  delete from public.message_reactions r
  where r.room_id = room and r.message_id = message.id and r.user_id = me and r.emoji = unreact.emoji;
  return jsonb_build_object('room_id', room, 'message_id', message.id, 'user_id', me, 'emoji', unreact.emoji,
    'added', false, 'changed', found);
end $$;

-- Moves the caller's cursors forward, and in rooms of at most `receipts_up_to`
-- members notes it for each message. Runs as the owner: receipts are not for
-- clients to write.
create function chat.mark(room uuid, delivered bigint, read bigint, receipts_up_to integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  me uuid := chat.member_of(room, 'mark messages');
  before public.room_members;
  after public.room_members;
begin
  select * into before from public.room_members m where m.room_id = room and m.user_id = me for no key update;
  after := before;
  if delivered > before.last_delivered_seq or read > before.last_read_seq then
    update public.room_members m set
      last_delivered_seq = coalesce(delivered, m.last_delivered_seq),
      last_read_seq = coalesce(read, m.last_read_seq)
    where m.room_id = room and m.user_id = me
    returning * into after;
  end if;
  if (after.last_delivered_seq, after.last_read_seq) is distinct from (before.last_delivered_seq, before.last_read_seq)
    and (select r.member_count from public.rooms r where r.id = room) <= receipts_up_to
  then
    insert into public.message_receipts as t (room_id, message_id, user_id, read_at)
    select room, m.id, me, case when m.seq <= after.last_read_seq then now() end
    from public.messages m
    where m.room_id = room and m.sender_id <> me and m.seq <= after.last_delivered_seq
      and m.seq > case when after.last_read_seq > before.last_read_seq
        then before.last_read_seq else before.last_delivered_seq end
    on conflict (room_id, message_id, user_id) do update set read_at = excluded.read_at
      where t.read_at is null and excluded.read_at is not null;
  end if;
  return jsonb_build_object('delivered_seq', after.last_delivered_seq, 'read_seq', after.last_read_seq);
end $$;
