-- KEYS: what was read again, replay. ARGV: group, id of the replay, '1' to remove what was read.
-- Ends the replay once no consumer holds anything of it. Gives whether it has ended.
if redis.call('HGET', KEYS[2], 'replay') ~= ARGV[2] or redis.call('HGET', KEYS[2], 'done') == '1' then return 1 end
local group = group_of(KEYS[1], ARGV[1])
if not group then
  -- Somebody who does not know of it removed its group: it begins anew.
  redis.call('DEL', KEYS[2])
  return 0
end
if field(group, 'pending') > 0 then return 0 end
if ARGV[3] == '1' then
  local ms, n = string.match(redis.call('HGET', KEYS[2], 'last'), '^(%d+)-(%d+)$')
  redis.call('XTRIM', KEYS[1], 'MINID', '=', ms .. '-' .. (tonumber(n) + 1))
end
redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], 'done', '1')
return 1
