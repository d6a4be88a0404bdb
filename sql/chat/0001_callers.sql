-- Who is asking. The claims are those that the server (or PostgREST) puts into
-- the setting request.jwt.claims; the schema auth is not needed.

-- The caller's id: the claim `sub` if it is a uuid, else null.
create function chat.user_id() returns uuid language sql stable as $$
  select case
    when nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
      ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
    then (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
  end
$$;

-- The caller's name, at most 100 characters; empty when the claims have none.
create function chat.user_name() returns text language sql stable as $$
  select left(coalesce(claims -> 'user_metadata' ->> 'name', claims ->> 'name', ''), 100)
  from (select nullif(current_setting('request.jwt.claims', true), '')::jsonb) as c (claims)
$$;

-- The room of a topic `room:<uuid>`, else null. Only the canonical spelling:
-- pushes go to that one, and a channel under another would stay silent.
create function chat.topic_room(topic text) returns uuid language sql immutable as $$
  select case
    when topic ~ '^room:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then substr(topic, 6)::uuid
  end
$$;

-- Refuses, in a sentence for people. PT400 bad input, PT403 not allowed,
-- PT404 not there or not yours to see, PT409 conflict, PT410 deleted.
create function chat.refuse(code text, sentence text, details text default null) returns void
language plpgsql as $$
begin
  if details is null then
    raise exception using errcode = code, message = sentence;
  end if;
  raise exception using errcode = code, message = sentence, detail = details;
end $$;
