-- Adds a batch to the stream, and to the count of what its writer added.
--
-- KEYS: the stream, the writer's count. ARGV: what the writer believes is counted, the stream's length to
-- trim to, seconds until both keys expire (0: leave it), then the events.
-- Answers: what was counted before; how many were added; {first id, entries before it} for each run of ids
-- that follow each other; the stream's oldest id; why the next one was not added.

local counted = tonumber(redis.call('HGET', KEYS[2], 'added') or 0)
-- Redis has lost some, or a batch that was given up came late: the writer must look first.
if counted ~= tonumber(ARGV[1]) then
    return {counted, 0, {}, '', ''}
end
local added, runs, millisecond, refusal = 0, {}, nil, ''
for i = 4, #ARGV do
    local id = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[i])
    if type(id) == 'table' and id.err then
        refusal = id.err
        break
    end
    -- Nobody writes in between, so ids of one millisecond follow each other.
    local ms = string.match(id, '^%d+')
    if ms ~= millisecond then
        millisecond = ms
        table.insert(runs, {id, added})
    end
    added = added + 1
end
local oldest = ''
if added > 0 then
    redis.call('HINCRBY', KEYS[2], 'added', added)
    if ARGV[3] ~= '0' then
        redis.call('EXPIRE', KEYS[1], ARGV[3])
        redis.call('EXPIRE', KEYS[2], ARGV[3])
    end
    oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
end
return {counted, added, runs, oldest, refusal}
