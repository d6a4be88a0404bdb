-- The schema of the functions, and the list of what has been applied.
do $$
begin
  if to_regnamespace('chat') is null then
    create schema chat;
  end if;
  if to_regclass('chat.schema_migrations') is null then
    create table chat.schema_migrations (
      version text primary key,
      applied_at timestamptz not null default now()
    );
  end if;
end $$;
