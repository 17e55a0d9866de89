-- KEYS: state. ARGV: name of the flag. Gives whether it is set.
return redis.call('HEXISTS', KEYS[1], ARGV[1])
