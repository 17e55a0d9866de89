-- Replies of XINFO are flat lists of names and values.
local function field(reply, name)
  for i = 1, #reply, 2 do
    if reply[i] == name then return reply[i + 1] end
  end
end

local function exists(key) return redis.call('EXISTS', key) == 1 end

-- The group of that name, or nil.
local function group_of(stream, name)
  if not exists(stream) then return nil end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if field(group, 'name') == name then return group end
  end
end

-- How many entries were ever added, and how many of them a trim has removed. Nothing here uses XDEL.
local function totals(stream)
  if not exists(stream) then return 0, 0 end
  local info = redis.call('XINFO', 'STREAM', stream)
  local added = field(info, 'entries-added')
  return added, added - field(info, 'length')
end

-- Milliseconds of Unix time, as text: Lua would write so large a number with an exponent.
local function now_ms()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

-- A counter is worth less than a delivery: with no memory left it is not counted, and the rest goes on.
local function count(key, name, by)
  if by > 0 then redis.pcall('HINCRBY', key, name, by) end
end

-- Counts what a destination will not get, and from when to when that was, for whoever tells it: see tell.lua.
local function lose(state, cause, by, from, to)
  if by == 0 then return end
  count(state, 'loss:' .. cause, by)
  local first, last = redis.call('HGET', state, 'loss_from:' .. cause), redis.call('HGET', state, 'loss_to:' .. cause)
  if not first or tonumber(from) < tonumber(first) then redis.pcall('HSET', state, 'loss_from:' .. cause, from) end
  if not last or tonumber(to) > tonumber(last) then redis.pcall('HSET', state, 'loss_to:' .. cause, to) end
end

-- Made once and then prolonged, which needs no memory.
local function hold(lease, milliseconds)
  if redis.call('PEXPIRE', lease, milliseconds) == 0 then redis.call('SET', lease, '1', 'PX', milliseconds) end
end
