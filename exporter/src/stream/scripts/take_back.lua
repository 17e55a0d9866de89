-- KEYS: state. ARGV: author. What an earlier process of that name said counts no more.
if redis.call('HGET', KEYS[1], 'author') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'condition', 'code', 'field', 'author')
