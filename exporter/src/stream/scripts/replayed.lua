-- KEYS: what was read again, state of the replay. ARGV: group, id of the replay, '1' to remove what was read.
-- Ends the replay once no consumer holds anything of it. Gives whether it has ended.
if redis.call('HGET', KEYS[2], 'replay') ~= ARGV[2] then return 1 end
local group = group_of(KEYS[1], ARGV[1])
if group then
  if field(group, 'pending') > 0 then return 0 end
  if ARGV[3] == '1' then
    local ms, n = string.match(redis.call('HGET', KEYS[2], 'last'), '^(%d+)-(%d+)$')
    redis.call('XTRIM', KEYS[1], 'MINID', '=', ms .. '-' .. (tonumber(n) + 1))
  end
  redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
end
redis.call('HSET', KEYS[2], 'done', '1')
return 1
