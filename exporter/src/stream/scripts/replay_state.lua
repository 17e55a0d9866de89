-- KEYS: replay, figures of its group.
return {
  redis.call('HGET', KEYS[1], 'replay'), redis.call('HGET', KEYS[1], 'done'),
  tonumber(redis.call('HGET', KEYS[2], 'delivered') or '0')
}
