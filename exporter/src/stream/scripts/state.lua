-- KEYS: stream, state, dead letters. ARGV: group.
local group = group_of(KEYS[1], ARGV[1])
local backlog, pending = -1, 0
if group then
  local added, removed = totals(KEYS[1])
  local read = field(group, 'entries-read')
  pending = field(group, 'pending')
  if read then backlog = added - math.max(read, removed) + pending end
end
return {backlog, pending, redis.call('XLEN', KEYS[3]), redis.call('HGETALL', KEYS[2])}
