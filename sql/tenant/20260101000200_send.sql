-- Broadcasts from SQL. They run as the caller, so that the caller's policies
-- decide, and a failure is a warning: a trigger that broadcasts must not undo
-- the change it tells about.
do $$
begin
  if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null then
    create function realtime.send(payload jsonb, event text, topic text, private boolean default true)
    returns void language plpgsql as $f$
    declare
      message uuid := gen_random_uuid();
      body jsonb := payload;
    begin
      if jsonb_typeof(body) is distinct from 'object' then
        raise exception 'the payload must be a JSON object';
      elsif not body ? 'id' then
        body := body || jsonb_build_object('id', message);
      end if;
      perform set_config('realtime.topic', topic, true);
      insert into realtime.messages (id, topic, extension, event, private, payload)
        values (message, topic, 'broadcast', event, private, body);
    exception when others then
      raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
    end
    $f$;
  end if;

  if to_regprocedure('realtime.send_binary(bytea, text, text, boolean)') is null then
    create function realtime.send_binary(payload bytea, event text, topic text, private boolean default true)
    returns void language plpgsql as $f$
    begin
      perform set_config('realtime.topic', topic, true);
      insert into realtime.messages (topic, extension, event, private, binary_payload)
        values (topic, 'broadcast', event, private, payload);
    exception when others then
      raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
    end
    $f$;
  end if;
end $$;
