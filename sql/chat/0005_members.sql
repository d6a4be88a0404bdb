-- Members. The room's row is locked while its members are counted, so that the
-- last owners of a room cannot leave side by side.

-- Whoever makes a room owns it. Rooms that a DBA makes have the owner they are given.
create function chat.own_room() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.room_members (room_id, user_id, role, name)
    values (new.id, new.created_by, 'owner', chat.user_name());
  return null;
end $$;
create trigger own_room after insert on public.rooms
  for each row when (new.created_by = chat.user_id()) execute function chat.own_room();

-- What was said before somebody came is not unread to them.
create function chat.start_member() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  head bigint := coalesce((select r.last_seq from public.rooms r where r.id = new.room_id), 0);
begin
  if new.last_read_seq = 0 and new.last_delivered_seq = 0 then
    new.last_read_seq := head;
  end if;
  new.last_read_seq := least(new.last_read_seq, head);
  new.last_delivered_seq := least(greatest(new.last_delivered_seq, new.last_read_seq), head);
  return new;
end $$;
create trigger start_member before insert on public.room_members
  for each row execute function chat.start_member();

-- Runs as the caller, before the next one: what policies cannot say.
create function chat.guard_member() returns trigger
language plpgsql set search_path = '' as $$
begin
  if row_security_active('public.room_members') then
    if new.role <> old.role and chat.my_role(old.room_id) is distinct from 'owner' then
      perform chat.refuse('PT403', 'Only an owner may change roles.');
    end if;
    if old.user_id is distinct from chat.user_id() then
      new.name := old.name;
      new.last_delivered_seq := old.last_delivered_seq;
      new.last_read_seq := old.last_read_seq;
    end if;
  end if;
  return new;
end $$;
create trigger a_guard_member before update on public.room_members
  for each row execute function chat.guard_member();

-- Cursors go forward only, and never ahead of what there is.
create function chat.move_cursors() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  head bigint;
begin
  if (new.room_id, new.user_id) is distinct from (old.room_id, old.user_id) then
    raise exception using errcode = 'check_violation', message = 'A member keeps the room and the user.';
  end if;
  new.joined_at := old.joined_at;
  if (new.last_delivered_seq, new.last_read_seq) is distinct from (old.last_delivered_seq, old.last_read_seq) then
    select r.last_seq into head from public.rooms r where r.id = old.room_id;
    new.last_read_seq := least(greatest(new.last_read_seq, old.last_read_seq), head);
    new.last_delivered_seq := least(
      greatest(new.last_delivered_seq, old.last_delivered_seq, new.last_read_seq), head);
  end if;
  return new;
end $$;
create trigger b_move_cursors before update on public.room_members
  for each row execute function chat.move_cursors();

create function chat.count_joined() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.rooms r set member_count = r.member_count + n.count
  from (select j.room_id, count(*) as count from joined j group by j.room_id) n
  where r.id = n.room_id;
  return null;
end $$;
create trigger count_joined after insert on public.room_members
  referencing new table as joined for each statement execute function chat.count_joined();

-- A room without an owner goes to its longest member, but not back to who resigned
-- while there is another.
create function chat.pass_ownership(room uuid, resigned uuid default null) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from public.room_members m where m.room_id = room and m.role = 'owner') then
    update public.room_members m set role = 'owner'
    where m.room_id = room and m.user_id = (
      select e.user_id from public.room_members e where e.room_id = room
      order by (e.user_id = resigned) is true, e.joined_at, e.user_id limit 1
    );
  end if;
end $$;

create function chat.count_left() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.rooms r set member_count = r.member_count - n.count
  from (select l.room_id, count(*) as count from departed l group by l.room_id) n
  where r.id = n.room_id;
  perform chat.pass_ownership(o.room_id)
  from (select distinct l.room_id from departed l where l.role = 'owner') o;
  return null;
end $$;
create trigger count_left after delete on public.room_members
  referencing old table as departed for each statement execute function chat.count_left();

create function chat.owner_resigned() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform from public.rooms r where r.id = old.room_id for no key update;
  perform chat.pass_ownership(old.room_id, old.user_id);
  return null;
end $$;
create trigger owner_resigned after update on public.room_members
  for each row when (old.role = 'owner' and new.role <> 'owner') execute function chat.owner_resigned();

-- Those who leave or remove take the room's lock first, in the order of everybody else.
create function chat.lock_room(room uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if chat.is_member(room) then
    perform from public.rooms r where r.id = room for no key update;
  end if;
end $$;
