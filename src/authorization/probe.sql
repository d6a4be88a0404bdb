-- Answers a batch of questions about private topics.
--
-- In: the setting rowcast.questions, a JSON array of objects with role, topic,
-- claims, sub, headers (all text) and write (boolean).
-- Out: the setting rowcast.answers, a JSON array in the same order: an array of
-- the extensions that are allowed, or the SQLSTATE of what went wrong.
--
-- Each question runs in a subtransaction of its own, so one policy that raises
-- costs nobody else an answer. Statements are executed dynamically: a cached
-- plan could carry one role's policies over to the next role.
do $rowcast$
declare
  question jsonb;
  answers jsonb := '[]';
  ids uuid[];
  allowed text[];
  kind text;
  state text;
begin
  for question in select * from jsonb_array_elements(current_setting('rowcast.questions')::jsonb) loop
    begin
      allowed := '{}';
      if not (question ->> 'write')::boolean then
        -- The rows to look for are put there by the server, whom no policy binds.
        with probes as (
          insert into realtime.messages (topic, extension)
          values (question ->> 'topic', 'broadcast'), (question ->> 'topic', 'presence')
          returning id
        )
        select array_agg(id) into ids from probes;
      end if;
      perform
        set_config('realtime.topic', question ->> 'topic', true),
        set_config('request.jwt.claims', question ->> 'claims', true),
        set_config('request.jwt.claim.sub', question ->> 'sub', true),
        set_config('request.jwt.claim.role', question ->> 'role', true),
        set_config('request.headers', question ->> 'headers', true),
        set_config('role', question ->> 'role', true);
      if (question ->> 'write')::boolean then
        foreach kind in array array['broadcast', 'presence'] loop
          begin
            execute 'insert into realtime.messages (topic, extension) values ($1, $2)'
              using question ->> 'topic', kind;
            allowed := allowed || kind;
          exception when insufficient_privilege then
            null;
          end;
        end loop;
      else
        execute 'select coalesce(array_agg(extension), ''{}'') from realtime.messages where id = any ($1)'
          into allowed using ids;
      end if;
      perform set_config('role', 'none', true);
      answers := answers || jsonb_build_array(to_jsonb(allowed));
    exception when others then
      -- The subtransaction is undone, and with it the role.
      get stacked diagnostics state = returned_sqlstate;
      answers := answers || jsonb_build_array(to_jsonb(state));
    end;
  end loop;
  perform set_config('rowcast.answers', answers::text, true);
end
$rowcast$;
