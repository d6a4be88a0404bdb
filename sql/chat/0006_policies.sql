-- Row security. Clients get the columns that are theirs to set and no more; some
-- databases give every new table to every client, hence the revokes.

alter table public.rooms enable row level security;
alter table public.room_members enable row level security;
alter table public.messages enable row level security;
alter table public.message_receipts enable row level security;
alter table public.message_reactions enable row level security;
alter table public.message_revisions enable row level security;

revoke all on public.rooms, public.room_members, public.messages, public.message_receipts,
  public.message_reactions, public.message_revisions from public, anon, authenticated;
grant select, insert, update, delete on public.rooms, public.room_members, public.messages,
  public.message_receipts, public.message_reactions, public.message_revisions to service_role;
grant select on public.rooms, public.messages, public.message_reactions to anon, authenticated;
grant select on public.room_members, public.message_receipts to authenticated;

grant insert (id, name, visibility, created_by), update (name, visibility) on public.rooms to authenticated;
grant insert (room_id, user_id, role, name),
  update (role, name, last_delivered_seq, last_read_seq), delete on public.room_members to authenticated;
grant insert (id, room_id, sender_id, content, reply_to), update (content, deleted_at)
  on public.messages to authenticated;
grant insert (room_id, message_id, user_id, emoji), delete on public.message_reactions to authenticated;

-- Rooms: readers see them, anybody makes one, owners and admins change it.
create policy read on public.rooms for select to anon, authenticated using (chat.may_read(id));
create policy make on public.rooms for insert to authenticated with check (created_by = chat.user_id());
create policy change on public.rooms for update to authenticated
  using (chat.my_role(id) in ('owner', 'admin')) with check (chat.my_role(id) in ('owner', 'admin'));

-- Members see each other. One joins a public room oneself; owners bring and
-- remove anybody; admins bring members and admins, and remove members.
create policy read on public.room_members for select to authenticated using (chat.is_member(room_id));
create policy join_public on public.room_members for insert to authenticated
  with check (user_id = chat.user_id() and role = 'member' and chat.may_read(room_id));
create policy invite on public.room_members for insert to authenticated with check (
  case chat.my_role(room_id) when 'owner' then true when 'admin' then role <> 'owner' else false end
);
create policy change on public.room_members for update to authenticated
  using (user_id = chat.user_id() or chat.my_role(room_id) = 'owner')
  with check (user_id = chat.user_id() or chat.my_role(room_id) = 'owner');
create policy remove on public.room_members for delete to authenticated using (
  user_id = chat.user_id()
  or case chat.my_role(room_id) when 'owner' then true when 'admin' then role = 'member' else false end
);

-- Messages: members write in their own name and change what is their own; owners
-- and admins may delete, not edit, what others wrote.
create policy read on public.messages for select to anon, authenticated using (chat.may_read(room_id));
create policy write on public.messages for insert to authenticated
  with check (sender_id = chat.user_id() and chat.is_member(room_id));
create policy change on public.messages for update to authenticated
  using (
    case when sender_id = chat.user_id() then chat.is_member(room_id)
      else chat.my_role(room_id) in ('owner', 'admin') end
  )
  with check (sender_id = chat.user_id() or deleted_at is not null);

-- Receipts are written by chat.mark alone.
create policy read on public.message_receipts for select to authenticated using (chat.is_member(room_id));

create policy read on public.message_reactions for select to anon, authenticated using (chat.may_read(room_id));
create policy react on public.message_reactions for insert to authenticated
  with check (user_id = chat.user_id() and chat.is_member(room_id));
create policy unreact on public.message_reactions for delete to authenticated
  using (user_id = chat.user_id() and chat.is_member(room_id));

-- Private channels `room:<uuid>`: readers listen, members talk.
create policy chat_listen on realtime.messages for select to anon, authenticated
  using (extension in ('broadcast', 'presence') and chat.may_read(chat.topic_room(topic)));
create policy chat_talk on realtime.messages for insert to authenticated
  with check (extension in ('broadcast', 'presence') and chat.is_member(chat.topic_room(topic)));
