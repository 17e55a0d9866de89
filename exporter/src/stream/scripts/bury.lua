-- KEYS: stream, dead letters, state. ARGV: group, dead letters at most, code, then for each an id, an event, the cause of the
-- loss ('' where it is not told) and the event's milliseconds of Unix time.
local done = 0
for i = 4, #ARGV, 4 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[i + 1], 'code', ARGV[3], 'entry', ARGV[i])
    if ARGV[i + 2] ~= '' then lose(KEYS[3], ARGV[i + 2], 1, ARGV[i + 3], ARGV[i + 3]) end
    done = done + 1
  end
end
count(KEYS[3], 'dropped', done)
return done
