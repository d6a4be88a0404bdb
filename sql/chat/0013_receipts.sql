-- Whoever was away for long and comes back has not each of what was said meanwhile
-- noted: of one step of a cursor the newest 1,000 messages get receipts. The counts
-- come from the cursors, so they are right for the others too.
create or replace function chat.mark(room uuid, delivered bigint, read bigint, receipts_up_to integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  me uuid := chat.member_of(room, 'mark messages');
  most constant integer := 1000;
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
    from (
      -- What is read now, and what is only delivered; the two do not overlap.
      select n.id, n.seq, n.sender_id from public.messages n
      where n.room_id = room and n.seq <= after.last_read_seq
        and n.seq > greatest(before.last_read_seq, after.last_read_seq - most)
      union all
      select n.id, n.seq, n.sender_id from public.messages n
      where n.room_id = room and n.seq <= after.last_delivered_seq
        and n.seq > greatest(before.last_delivered_seq, after.last_read_seq, after.last_delivered_seq - most)
    ) m
    where m.sender_id <> me
    on conflict (room_id, message_id, user_id) do update set read_at = excluded.read_at
      where t.read_at is null and excluded.read_at is not null;
  end if;
  return jsonb_build_object('delivered_seq', after.last_delivered_seq, 'read_seq', after.last_read_seq);
end $$;
