-- KEYS: stream. ARGV: what the keys of states begin with. Gives the groups that have one: those of the exporter.
local names = {}
if exists(KEYS[1]) then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local name = field(group, 'name')
    if exists(ARGV[1] .. name) then names[#names + 1] = name end
  end
end
return names
