-- Appends entries, if nobody has taken over and nothing is lost.
--
-- KEYS: head, log. ARGV: token, the last entry as we know it, how many entries to keep, up to where
-- the source may forget then what it had, and for each entry its id and payload.
local found = redis.call('HMGET', KEYS[1], 'token', 'top')
if found[1] ~= ARGV[1] then return found[1] and 'taken' or 'lost' end
if found[2] ~= ARGV[2] then
  -- All of it was appended before, and only the answer was lost.
  return found[2] == ARGV[#ARGV - 1] and 'done' or 'lost'
end
local top = ARGV[2]
for at = 5, #ARGV, 2 do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], ARGV[at], 'p', top, 'b', ARGV[at + 1])
  top = ARGV[at]
end
redis.call('HSET', KEYS[1], 'top', top, 'end', ARGV[4])
return 'done'
