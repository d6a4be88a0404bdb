-- Nothing of the schema is for everybody.
revoke all on all functions in schema chat from public;
revoke all on all tables in schema chat from public, anon, authenticated;
grant usage on schema chat to anon, authenticated, service_role;

grant execute on function
  chat.user_id(), chat.user_name(), chat.topic_room(text), chat.refuse(text, text, text),
  chat.my_role(uuid), chat.is_member(uuid), chat.may_read(uuid), chat.is_unbound(),
  chat.room(uuid), chat.history(uuid, bigint, bigint, integer), chat.resume(uuid, bigint, bigint, integer)
  to anon, authenticated, service_role;
grant execute on function
  chat.member_of(uuid, text), chat.lock_room(uuid), chat.message_of(uuid, uuid), chat.check_content(text),
  chat.message_json(public.messages), chat.member_json(public.room_members),
  chat.send(uuid, uuid, text, uuid), chat.edit(uuid, uuid, text, integer), chat.delete(uuid, uuid, integer),
  chat.react(uuid, uuid, text), chat.unreact(uuid, uuid, text), chat.mark(uuid, bigint, bigint, integer),
  chat.create_room(uuid, text, text, uuid[]), chat.join_room(uuid), chat.leave_room(uuid),
  chat.invite(uuid, uuid, text, text), chat.remove_member(uuid, uuid),
  chat.rooms(integer, text), chat.members(uuid, text, text, integer), chat.shared_users(uuid[]),
  chat.receipts(uuid, uuid)
  to authenticated, service_role;
grant execute on function chat.rooms_of(uuid) to service_role;
