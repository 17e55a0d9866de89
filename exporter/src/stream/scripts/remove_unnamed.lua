-- KEYS: stream, when each group was last named, what else is kept of the group... ARGV: group, the group of its replay,
-- milliseconds for which nobody may have named it. Gives whether it was removed.
local named, now = redis.call('HGET', KEYS[2], ARGV[1]), now_ms()
if not named then
  -- Since when is not known: from now on, then.
  redis.call('HSET', KEYS[2], ARGV[1], now)
  return 0
end
if now - named < tonumber(ARGV[3]) then return 0 end
if exists(KEYS[1]) then
  redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
  redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[2])
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('DEL', unpack(KEYS, 3))
return 1
