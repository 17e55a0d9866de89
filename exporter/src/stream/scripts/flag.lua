-- KEYS: state. ARGV: name of the flag, '1' to set it. Gives whether that changed anything, so that of several replicas one
-- tells it.
if ARGV[2] == '1' then return redis.call('HSETNX', KEYS[1], ARGV[1], '1') end
return redis.call('HDEL', KEYS[1], ARGV[1])
