-- KEYS: stream, state, dead letters. ARGV: group.
if exists(KEYS[1]) then redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) end
return redis.call('DEL', unpack(KEYS, 2))
