-- The tables. `seq` is a message's place in its room: 1, 2, 3 … without a hole,
-- in commit order. `rev` is the room's count of changes at the message's last
-- change: what came after a `rev` is what a client that was away has missed.

create table public.rooms (
  id uuid primary key default gen_random_uuid(),
  name text check (char_length(name) between 1 and 200),
  visibility text not null default 'private' check (visibility in ('private', 'public')),
  created_by uuid default chat.user_id(),
  created_at timestamptz not null default now(),
  last_seq bigint not null default 0,
  last_rev bigint not null default 0,
  member_count integer not null default 0,
  last_message_at timestamptz
) with (fillfactor = 80);

-- No index on the cursors, and room in the pages: moving one is cheap.
create table public.room_members (
  room_id uuid not null references public.rooms on delete cascade,
  user_id uuid not null,
  role text not null default 'member' check (role in ('owner', 'admin', 'member')),
  name text not null default '' check (char_length(name) <= 100),
  joined_at timestamptz not null default now(),
  last_delivered_seq bigint not null default 0,
  last_read_seq bigint not null default 0,
  primary key (room_id, user_id)
) with (fillfactor = 80);
-- The stream compares the old row with the new one.
alter table public.room_members replica identity full;
create index room_members_user_id_index on public.room_members (user_id);
create index room_members_name_index on public.room_members (room_id, (lower(name) collate "C"), user_id);

create table public.messages (
  id uuid primary key default gen_random_uuid(),
  room_id uuid not null references public.rooms on delete cascade,
  sender_id uuid not null default chat.user_id(),
  content text check (char_length(content) <= 10000),
  created_at timestamptz not null default now(),
  edited_at timestamptz,
  deleted_at timestamptz,
  seq bigint not null,
  rev bigint not null,
  version integer not null default 1,
  reply_to uuid,
  constraint messages_content_or_deleted check ((content is null) = (deleted_at is not null)),
  constraint messages_room_seq_key unique (room_id, seq)
);
create index messages_room_rev_index on public.messages (room_id, rev);
-- A DELETE in the log names its room and place, and no old content is ever logged.
create unique index messages_identity on public.messages (room_id, seq, id);
alter table public.messages replica identity using index messages_identity;

-- These three follow their message by a trigger, which finds them by room.
create table public.message_receipts (
  room_id uuid not null,
  message_id uuid not null,
  user_id uuid not null,
  delivered_at timestamptz not null default now(),
  read_at timestamptz,
  primary key (room_id, message_id, user_id)
);

create table public.message_reactions (
  room_id uuid not null,
  message_id uuid not null,
  user_id uuid not null default chat.user_id(),
  emoji text not null check (emoji <> '' and octet_length(emoji) <= 64),
  created_at timestamptz not null default now(),
  primary key (room_id, message_id, user_id, emoji)
);

-- What an edit or a deletion replaced.
create table public.message_revisions (
  room_id uuid not null,
  message_id uuid not null,
  version integer not null,
  content text not null,
  replaced_at timestamptz not null default now(),
  replaced_by uuid,
  primary key (message_id, version)
);
