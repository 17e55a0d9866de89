-- KEYS: figures of an export. ARGV: how many more.
if tonumber(ARGV[1]) > 0 then count(KEYS[1], 'unrouted', tonumber(ARGV[1])) end
return tonumber(redis.call('HGET', KEYS[1], 'unrouted') or '0')
