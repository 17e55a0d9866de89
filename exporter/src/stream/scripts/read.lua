-- KEYS: stream, lease, state. ARGV: group, consumer, entries at most (0: only count what was lost), milliseconds of the
-- lease.
local group = group_of(KEYS[1], ARGV[1])
if not group then return redis.error_reply('NOGROUP no such group') end
hold(KEYS[2], ARGV[4])
local _, removed = totals(KEYS[1])
local read, last = field(group, 'entries-read'), field(group, 'last-delivered-id')
local lost = 0
if read and removed > read then
  lost = removed - read
  read = removed
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', read)
  count(KEYS[3], 'lost', lost)
  local left = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)
  local from, to = string.match(last, '^%d+'), left[1] and string.match(left[1][1], '^%d+') or now_ms()
  lose(KEYS[3], 'trimmed', lost, from, to)
end
-- A count of 0 is no limit to Redis.
if tonumber(ARGV[3]) == 0 then return {lost, {}} end
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
local entries = reply and reply[1][2] or {}
-- Redis 7.0 tells neither its append-only file nor its replicas how many entries a group has read by this, only which (as
-- seen with 7.0.15): after a restart, or on a promoted replica, all that was trimmed would count as lost.
if read and #entries > 0 then
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], entries[#entries][1], 'ENTRIESREAD', read + #entries)
end
return {lost, entries}
