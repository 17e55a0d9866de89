-- KEYS: what is read again, replay, figures of its group. ARGV: group, id of the replay, after which entry it begins.
-- Gives '' where the replay is done, and otherwise the last entry that belongs to it.
if redis.call('HGET', KEYS[2], 'replay') == ARGV[2] then
  if redis.call('HGET', KEYS[2], 'done') == '1' then return '' end
  return redis.call('HGET', KEYS[2], 'last')
end
local newest = exists(KEYS[1]) and redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if group_of(KEYS[1], ARGV[1]) then redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[2], 'replay', ARGV[2], 'last', newest and newest[1] or '', 'done', newest and '0' or '1')
if not newest then return '' end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[3])
return newest[1]
