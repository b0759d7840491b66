-- Writes entries to the log, keeps the last one about each thing, and sets the places of calls accordingly.
-- KEYS: log, state, seats, totals. ARGV: edge, length of the log, then for each entry: name, octets, "1" when it is over, call
-- ("" when it is not about one), node.
-- What somebody else wrote in the place of a count is none; the next heartbeat puts it right.
local function count(node, by)
  local calls = redis.pcall('HINCRBY', KEYS[4], node, by)
  if type(calls) == 'number' and calls <= 0 then redis.call('HDEL', KEYS[4], node) end
end
for at = 3, #ARGV, 5 do
  local name, octets, over, call, node = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', octets)
  if over == '1' then redis.call('HDEL', KEYS[2], name) else redis.call('HSET', KEYS[2], name, octets) end
  if call ~= '' then
    local seat = redis.call('HGET', KEYS[3], call)
    local tab = seat and string.find(seat, '\t', 1, true)
    local had = tab and string.sub(seat, tab + 1)
    if over == '1' then
      redis.call('HDEL', KEYS[3], call)
      if had then count(had, -1) end
    else
      redis.call('HSET', KEYS[3], call, ARGV[1] .. '\t' .. node)
      if had ~= node then
        count(node, 1)
        if had then count(had, -1) end
      end
    end
  end
end
return #ARGV
