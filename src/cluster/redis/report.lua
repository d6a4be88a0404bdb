-- Says how far a reader is. KEYS: readers. ARGV: node, history and entry.
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], now[1] .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], 600)
