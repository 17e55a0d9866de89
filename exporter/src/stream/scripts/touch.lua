-- KEYS: any. ARGV: seconds. They live at least that long from now.
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[1]) end
return #KEYS
