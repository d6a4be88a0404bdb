-- For policies: the topic that is being joined, read or written.
do $$
begin
  if to_regprocedure('realtime.topic()') is null then
    create function realtime.topic() returns text language sql stable as $f$
      select nullif(current_setting('realtime.topic', true), '')
    $f$;
  end if;
end $$;
