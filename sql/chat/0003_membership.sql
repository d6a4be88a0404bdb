-- The questions that policies ask. They run as the owner of the tables, so that
-- a policy on room_members may ask about room_members without end; plpgsql keeps
-- their plans for the session.

create function chat.my_role(room uuid) returns text
language plpgsql stable security definer set search_path = '' as $$
begin
  return (select m.role from public.room_members m where m.room_id = room and m.user_id = chat.user_id());
end $$;

create function chat.is_member(room uuid) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (select from public.room_members m where m.room_id = room and m.user_id = chat.user_id());
end $$;

-- Whether the caller is a member, or the room is public.
create function chat.may_read(room uuid) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (select from public.room_members m where m.room_id = room and m.user_id = chat.user_id())
    or exists (select from public.rooms r where r.id = room and r.visibility = 'public');
end $$;

-- Whether no policy binds the caller: service_role, a superuser, the owner. It
-- looks at the role of the session, so it is true inside definer functions too.
create function chat.is_unbound() returns boolean
language sql stable set search_path = '' as $$
  select r.rolsuper or r.rolbypassrls or pg_has_role(r.oid, c.relowner, 'usage')
  from pg_roles r, pg_class c
  where r.rolname = coalesce(nullif(current_setting('role'), 'none'), session_user::text)
    and c.oid = 'public.messages'::regclass
$$;

-- The room's row, for functions that read as the owner: refused where the caller
-- may not read. One question instead of one for each row.
create function chat.readable(room uuid) returns public.rooms
language plpgsql stable security definer set search_path = '' as $$
declare
  found_room public.rooms;
begin
  select * into found_room from public.rooms r
  where r.id = room and (chat.may_read(room) or chat.is_unbound());
  if found_room.id is null then
    perform chat.refuse('PT404', 'There is no such room.');
  end if;
  return found_room;
end $$;

-- The caller's id, who must be a member of the room.
create function chat.member_of(room uuid, what text) returns uuid
language plpgsql stable security definer set search_path = '' as $$
begin
  if not chat.is_member(room) then
    if chat.may_read(room) then
      perform chat.refuse('PT403', format('Only members may %s in this room.', what));
    end if;
    perform chat.refuse('PT404', 'There is no such room.');
  end if;
  return chat.user_id();
end $$;
