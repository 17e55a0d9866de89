-- KEYS: stream, state, dead letters. ARGV: group, what the keys of leases begin with. The fourth value says whether the author
-- of what is noted lives.
local group = group_of(KEYS[1], ARGV[1])
local backlog, pending = -1, 0
if group then
  local added, removed = totals(KEYS[1])
  local read = field(group, 'entries-read')
  pending = field(group, 'pending')
  if read then backlog = added - math.max(read, removed) + pending end
end
local author = redis.call('HGET', KEYS[2], 'author')
local lives = author and exists(ARGV[2] .. author)
return {backlog, pending, redis.call('XLEN', KEYS[3]), lives and 1 or 0, redis.call('HGETALL', KEYS[2])}
