-- KEYS: state.
return redis.call('HGETALL', KEYS[1])
