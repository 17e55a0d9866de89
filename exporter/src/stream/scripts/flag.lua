-- KEYS: state. ARGV: name of the flag, '1' to set it, milliseconds after a clearing within which it is not set again. Gives
-- whether that changed anything, so that of several replicas one tells it.
local now, cleared = now_ms(), ARGV[1] .. '_cleared_ms'
if ARGV[2] == '1' then
  local before = tonumber(redis.call('HGET', KEYS[1], cleared) or '0')
  if now - before < tonumber(ARGV[3]) then return 0 end
  return redis.call('HSETNX', KEYS[1], ARGV[1], '1')
end
local changed = redis.call('HDEL', KEYS[1], ARGV[1])
if changed == 1 then redis.call('HSET', KEYS[1], cleared, now) end
return changed
