-- How far the readers of a history are that were heard of lately.
-- KEYS: readers. ARGV: history, seconds that a reader may be silent.
local now = tonumber(redis.call('TIME')[1])
local all, places = redis.call('HGETALL', KEYS[1]), {}
for at = 1, #all, 2 do
  local heard, history, entry = string.match(all[at + 1], '^(%d+) (%S+) (%S+)$')
  if not heard or now - tonumber(heard) > tonumber(ARGV[2]) then
    redis.call('HDEL', KEYS[1], all[at])
  elseif history == ARGV[1] then
    places[#places + 1] = entry
  end
end
return places
