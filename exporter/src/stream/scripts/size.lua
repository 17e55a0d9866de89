-- KEYS: stream. Gives its length and its bytes; 0 bytes where Redis does not tell.
if not exists(KEYS[1]) then return {0, 0} end
local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[1])
if type(bytes) ~= 'number' then bytes = 0 end
return {redis.call('XLEN', KEYS[1]), bytes}
