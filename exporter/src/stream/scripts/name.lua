-- KEYS: when each group was last named. ARGV: seconds that this is kept, groups... They are named now.
-- This comes first because it needs no memory: Redis takes what follows it in a script even when it is full.
redis.call('EXPIRE', KEYS[1], ARGV[1])
local now = now_ms()
for i = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], now) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return #ARGV - 1
