-- KEYS: stream. Gives the groups that are named as destinations are: SIEMEXPORT/DESTINATION. A group of somebody else's, made
-- to look at the stream, is not for us to remove.
local names = {}
if exists(KEYS[1]) then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local name = field(group, 'name')
    if string.match(name, '^[%l%d.-]+/[%l%d-]+$') then names[#names + 1] = name end
  end
end
return names
