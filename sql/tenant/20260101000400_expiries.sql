-- Messages that are to be forgotten before the retention ends, as their sender
-- wished. Only the server writes and reads it: nobody else is granted anything.
create table if not exists realtime.rowcast_expiries (
  message uuid primary key,
  expires_at timestamp not null
);
do $$
begin
  if to_regclass('realtime.rowcast_expiries_expires_at') is null then
    create index rowcast_expiries_expires_at on realtime.rowcast_expiries (expires_at);
  end if;
end $$;
