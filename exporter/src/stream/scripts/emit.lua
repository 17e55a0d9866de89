-- KEYS: stream, mark of the event. ARGV: event, seconds for which a repeat is known.
if exists(KEYS[2]) then return 0 end
-- Before the mark: an event that found no room is tried again.
redis.call('XADD', KEYS[1], '*', 'event', ARGV[1])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
return 1
