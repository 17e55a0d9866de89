-- KEYS: stream, state. ARGV: group, '1' if this process has had the group, milliseconds of Unix time.
if group_of(KEYS[1], ARGV[1]) then return 'found' end
local added, removed = totals(KEYS[1])
if ARGV[2] == '1' or exists(KEYS[2]) then
  -- Redis came back without it: what is there may not have been delivered.
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM', 'ENTRIESREAD', removed)
  redis.call('HSET', KEYS[2], 'since', ARGV[3])
  return 'again'
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$', 'MKSTREAM', 'ENTRIESREAD', added)
redis.call('HSET', KEYS[2], 'since', ARGV[3])
return 'new'
