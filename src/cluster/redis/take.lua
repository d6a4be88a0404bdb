-- Takes over the right to append. Continues the history that is there, or begins another one
-- if something before it is missing, if it is of another source, if it lost what we appended, or
-- if the source has forgotten what others appended and the log has not.
--
-- KEYS: head. ARGV: token, source, generation, gap, from where the source goes on, and what we know:
-- a history, its last entry, up to where the source had forgotten it then.
-- Answer: history, top, end, entries, bytes.
local head = KEYS[1]
local token, source, generation, gap, from, known, last, known_end = unpack(ARGV)

local function is_after(a, b)
  local a1, a2 = string.match(a, '^(%d+)-(%d+)$')
  local b1, b2 = string.match(b, '^(%d+)-(%d+)$')
  -- As text: a number of Lua does not hold 64 bits.
  if a1 == b1 then a1, b1 = a2, b2 end
  if #a1 ~= #b1 then return #a1 > #b1 end
  return a1 > b1
end

local found = redis.call('HMGET', head, 'history', 'source', 'top', 'end')
local history, top, stop = found[1], found[3], found[4] or from
local continues = history and gap == '' and found[2] == source
  and (top == '0-0' or redis.call('EXISTS', head .. ':' .. history) == 1)
  and not (known == history and is_after(last, top))
  and not is_after(from, stop)

if not continues then
  if history then
    local old = head .. ':' .. history
    redis.call('XADD', old, '18446744073709551615-18446744073709551615', 'p', top)
    redis.call('EXPIRE', old, 600)
  end
  local follows = ''
  if gap == '' and known ~= '' and not is_after(from, known_end) then follows = known .. ' ' .. last end
  history, top, stop = token, '0-0', from
  redis.call('HSET', head, 'history', history, 'source', source, 'generation', generation,
    'gap', gap, 'follows', follows, 'top', top, 'end', stop)
end
redis.call('HSET', head, 'token', token)
local log = head .. ':' .. history
local bytes = redis.call('MEMORY', 'USAGE', log)
return { history, top, stop, redis.call('XLEN', log), bytes or 0 }
