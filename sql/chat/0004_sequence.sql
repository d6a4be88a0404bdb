-- Numbers. The room's row is locked until the commit, so numbers are given in
-- commit order. A number counts from what the table holds and the room's counter
-- is set after the statement, from the rows that were inserted: what is refused,
-- undone or skipped by "on conflict do nothing" leaves no hole.

-- The first scan would do well without an index while the table is small, and
-- the plan would stay: hence the settings.
create function chat.next_numbers(room uuid, out seq bigint, out rev bigint)
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  last record;
begin
  select r.last_seq, r.last_rev into last from public.rooms r where r.id = room for no key update;
  if not found then
    raise exception using errcode = 'foreign_key_violation', message = format('There is no room %s.', room);
  end if;
  seq := 1 + greatest(last.last_seq,
    (select m.seq from public.messages m where m.room_id = room order by m.room_id desc, m.seq desc limit 1));
  rev := 1 + greatest(last.last_rev,
    (select m.rev from public.messages m where m.room_id = room order by m.room_id desc, m.rev desc limit 1));
end $$;

create function chat.number_message() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.room_id is null then
    return new; -- refused as not null
  end if;
  select n.seq, n.rev into new.seq, new.rev from chat.next_numbers(new.room_id) n;
  if new.reply_to is not null and not exists (
    select from public.messages m where m.id = new.reply_to and m.room_id = new.room_id
  ) then
    raise exception using errcode = 'foreign_key_violation',
      message = 'A reply must be to a message of the same room.';
  end if;
  return new;
end $$;
create trigger number_message before insert on public.messages
  for each row execute function chat.number_message();

create function chat.count_messages() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.rooms r set
    last_seq = greatest(r.last_seq, n.seq),
    last_rev = greatest(r.last_rev, n.rev),
    last_message_at = greatest(r.last_message_at, n.at)
  from (
    select a.room_id, max(a.seq) as seq, max(a.rev) as rev, max(a.created_at) as at from added a group by a.room_id
  ) n
  where r.id = n.room_id;
  return null;
end $$;
create trigger count_messages after insert on public.messages
  referencing new table as added for each statement execute function chat.count_messages();

-- An edit or a deletion: what was there goes to message_revisions, the rest
-- follows. A deletion is final and leaves no content.
create function chat.change_message() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if (new.id, new.room_id, new.sender_id, new.created_at, new.seq, new.reply_to)
    is distinct from (old.id, old.room_id, old.sender_id, old.created_at, old.seq, old.reply_to)
  then
    raise exception using errcode = 'check_violation',
      message = 'A message keeps its id, room, sender, time, place and what it replies to.';
  end if;
  new.version := old.version;
  new.rev := old.rev;
  new.edited_at := old.edited_at;
  if old.deleted_at is not null then
    if new.deleted_at is null or new.content is not null then
      perform chat.refuse('PT410', 'The message was deleted.');
    end if;
    new.deleted_at := old.deleted_at;
  elsif new.deleted_at is not null then
    new.content := null;
    new.deleted_at := now();
  elsif new.content is distinct from old.content then
    new.edited_at := now();
  end if;
  if new is not distinct from old then
    return new;
  end if;
  if new.content is distinct from old.content then
    new.version := old.version + 1;
    insert into public.message_revisions (room_id, message_id, version, content, replaced_by)
      values (old.room_id, old.id, old.version, old.content, chat.user_id());
  end if;
  select n.rev into new.rev from chat.next_numbers(old.room_id) n;
  return new;
end $$;
create trigger change_message before update on public.messages
  for each row execute function chat.change_message();

create function chat.count_changes() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.rooms r set last_rev = n.rev
  from (select c.room_id, max(c.rev) as rev from changed c group by c.room_id) n
  where r.id = n.room_id and r.last_rev < n.rev;
  return null;
end $$;
create trigger count_changes after update on public.messages
  referencing new table as changed for each statement execute function chat.count_changes();

create function chat.forget_messages() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from public.message_receipts t using removed d where t.room_id = d.room_id and t.message_id = d.id;
  delete from public.message_reactions t using removed d where t.room_id = d.room_id and t.message_id = d.id;
  delete from public.message_revisions t using removed d where t.message_id = d.id;
  return null;
end $$;
create trigger forget_messages after delete on public.messages
  referencing old table as removed for each statement execute function chat.forget_messages();

-- A reaction belongs to its message's room, whatever it says.
create function chat.place_reaction() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  message record;
begin
  select m.room_id, m.deleted_at into message from public.messages m where m.id = new.message_id for key share;
  if not found then
    raise exception using errcode = 'foreign_key_violation',
      message = format('There is no message %s.', new.message_id);
  elsif message.deleted_at is not null then
    perform chat.refuse('PT410', 'The message was deleted.');
  end if;
  new.room_id := message.room_id;
  return new;
end $$;
create trigger place_reaction before insert on public.message_reactions
  for each row execute function chat.place_reaction();
