-- For row triggers: broadcasts the change of a row. Unlike realtime.send it
-- raises, because being called wrongly is a fault of the schema.
do $$
begin
  if to_regprocedure('realtime.broadcast_changes(text, text, text, text, text, record, record, text)') is null then
    create function realtime.broadcast_changes(
      topic_name text, event_name text, operation text, table_name text, table_schema text,
      new record, old record, level text default 'ROW'
    ) returns void language plpgsql as $f$
    declare
      changed jsonb := jsonb_build_object('operation', operation, 'table', table_name, 'schema', table_schema);
    begin
      if level is not distinct from 'STATEMENT' then
        raise exception 'the trigger must be FOR EACH ROW';
      end if;
      case operation
        when 'INSERT' then
          changed := changed || jsonb_build_object('record', to_jsonb(new), 'old_record', null);
        when 'UPDATE' then
          changed := changed || jsonb_build_object('record', to_jsonb(new), 'old_record', to_jsonb(old));
        when 'DELETE' then
          changed := changed || jsonb_build_object('record', null, 'old_record', to_jsonb(old));
        else
          raise exception 'the operation is %, not INSERT, UPDATE or DELETE', operation;
      end case;
      perform realtime.send(changed, event_name, topic_name, true);
    exception when others then
      raise exception 'Failed to process the row: %', sqlerrm;
    end
    $f$;
  end if;
end $$;
