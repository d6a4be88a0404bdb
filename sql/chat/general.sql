-- The room that `rowcast dev` starts with.
insert into public.rooms (id, name, visibility)
  values ('00000000-0000-4000-8000-000000000001', 'General', 'public')
  on conflict (id) do nothing;
