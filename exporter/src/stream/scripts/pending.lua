-- KEYS: stream, lease, state. ARGV: group, consumer, after which id, entries at most, milliseconds of the lease.
hold(KEYS[2], ARGV[5])
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[4], 'STREAMS', KEYS[1], ARGV[3])
local found, gone, last = {}, {}, ARGV[3]
for _, entry in ipairs(reply and reply[1][2] or {}) do
  last = entry[1]
  -- A trim leaves an entry pending whose content is gone.
  if entry[2] and #entry[2] > 0 then found[#found + 1] = entry else gone[#gone + 1] = entry[1] end
end
if #gone > 0 then
  redis.call('XACK', KEYS[1], ARGV[1], unpack(gone))
  count(KEYS[3], 'possibly_lost', #gone)
  lose(KEYS[3], 'trimmed_pending', #gone, now_ms(), now_ms())
end
return {#gone, last, found}
