-- KEYS: stream, lease, state. ARGV: group, consumer, entries at most, milliseconds of the lease.
local group = group_of(KEYS[1], ARGV[1])
if not group then return redis.error_reply('NOGROUP no such group') end
hold(KEYS[2], ARGV[4])
local _, removed = totals(KEYS[1])
local read, last = field(group, 'entries-read'), field(group, 'last-delivered-id')
local lost, first = 0, ''
if read and removed > read then
  lost = removed - read
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', removed)
  count(KEYS[3], 'lost', lost)
  local left = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)
  if left[1] then first = left[1][1] end
end
local entries = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
return {lost, last, first, entries and entries[1][2] or {}}
