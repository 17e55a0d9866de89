-- KEYS: state. ARGV: condition, code, field.
redis.call('HSET', KEYS[1], 'condition', ARGV[1], 'code', ARGV[2], 'field', ARGV[3])
return 1
