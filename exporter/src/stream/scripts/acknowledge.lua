-- KEYS: stream, state. ARGV: group, counter, milliseconds of Unix time ('' where nothing was delivered), ids...
local done = redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 4))
count(KEYS[2], ARGV[2], done)
if ARGV[3] ~= '' then redis.pcall('HSET', KEYS[2], 'last_delivered_ms', ARGV[3]) end
return done
