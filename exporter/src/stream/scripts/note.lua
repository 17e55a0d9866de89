-- KEYS: state. ARGV: condition, code, field, author, what the keys of leases begin with, '1' for news: what is none counts only
-- where the author of the last news is gone.
local before = redis.call('HGET', KEYS[1], 'author')
if ARGV[6] ~= '1' and before and exists(ARGV[5] .. before) then return 0 end
redis.call('HSET', KEYS[1], 'condition', ARGV[1], 'code', ARGV[2], 'field', ARGV[3], 'author', ARGV[4])
return 1
