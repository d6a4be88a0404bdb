-- A public room that becomes private: visitors who listen are to be cut off, also
-- those whom no table knows. The log says so through a row here, which goes again
-- in the same transaction; a change of rooms itself would be told with every message.
create table chat.closings (
  id bigint generated always as identity primary key,
  room_id uuid not null
);
alter table chat.closings enable row level security;
revoke all on chat.closings from public;

create function chat.close_room() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into chat.closings (room_id) values (new.id);
  delete from chat.closings where room_id = new.id;
  return null;
end $$;
revoke all on function chat.close_room() from public;

create trigger close_room after update of visibility on public.rooms
for each row when (old.visibility = 'public' and new.visibility = 'private')
execute function chat.close_room();
