-- KEYS: stream, dead letters, state. ARGV: group, dead letters at most, code, then an id and an event for each.
local done = 0
for i = 4, #ARGV, 2 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[i + 1], 'code', ARGV[3], 'entry', ARGV[i])
    done = done + 1
  end
end
count(KEYS[3], 'dropped', done)
return done
