-- The table of the chat that `rowcast dev` shows, and the publication that
-- clients subscribe to. A table of that name that exists belongs to somebody
-- else: it is neither granted to clients nor published.
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  if to_regclass('public.messages') is not null then
    return;
  end if;
  create table public.messages (
    id uuid primary key default gen_random_uuid(),
    room_id uuid not null,
    sender_id uuid not null,
    content text,
    created_at timestamptz not null default now(),
    edited_at timestamptz,
    deleted_at timestamptz
  );
  grant select on public.messages to anon, authenticated, service_role;
  alter publication supabase_realtime add table public.messages;
end $$;
