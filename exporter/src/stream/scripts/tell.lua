-- KEYS: stream, state. ARGV: cause, how many losses were told before, how many are with this event, event. Gives whether it
-- was added: of several replicas that tell the same, and of repeats, one adds it.
local told, total = 'told:' .. ARGV[1], redis.call('HGET', KEYS[2], 'loss:' .. ARGV[1])
-- Redis came back with less, or the group was removed.
if tonumber(total or '0') < tonumber(ARGV[3]) then return 0 end
if (redis.call('HGET', KEYS[2], told) or '0') ~= ARGV[2] then return 0 end
-- Before it counts as told: an event that finds no room is told later.
redis.call('XADD', KEYS[1], '*', 'event', ARGV[4])
redis.call('HSET', KEYS[2], told, ARGV[3])
-- What was lost meanwhile has its own times among these, which are then told again.
if total == ARGV[3] then
  redis.call('HDEL', KEYS[2], 'loss_from:' .. ARGV[1], 'loss_to:' .. ARGV[1])
end
return 1
