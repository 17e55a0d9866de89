-- KEYS: stream, state. ARGV: group, consumer, what the keys of leases begin with, entries at most.
-- Gives how many entries were gone, how many this consumer had before, and those that it has got.
local left, gone, own, taken = tonumber(ARGV[4]), 0, 0, {}
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local name = field(consumer, 'name')
  if name == ARGV[2] then own = field(consumer, 'pending') end
  -- By its lease alone: a consumer that is slow to acknowledge lives.
  if name ~= ARGV[2] and not exists(ARGV[3] .. name) then
    if field(consumer, 'pending') == 0 then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
    elseif left > 0 then
      local ids = {}
      for _, one in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', left, name)) do ids[#ids + 1] = one[1] end
      local got = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ids))
      for _, entry in ipairs(got) do taken[#taken + 1] = entry end
      gone = gone + #ids - #got
      left = left - #ids
    end
  end
end
count(KEYS[2], 'possibly_lost', gone)
lose(KEYS[2], 'trimmed_pending', gone, now_ms(), now_ms())
return {gone, own, taken}
