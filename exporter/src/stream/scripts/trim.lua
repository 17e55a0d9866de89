-- KEYS: stream. ARGV: the id from which on entries are kept whatever was acknowledged.
local function before(a, b)
  local a_ms, a_n = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)-(%d+)$')
  if a_ms == b_ms then return tonumber(a_n) < tonumber(b_n) end
  return tonumber(a_ms) < tonumber(b_ms)
end
if not exists(KEYS[1]) then return 0 end
local keep = ARGV[1]
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local pending = redis.call('XPENDING', KEYS[1], field(group, 'name'))
  local needed = pending[1] > 0 and pending[2] or field(group, 'last-delivered-id')
  if before(needed, keep) then keep = needed end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', keep)
