-- Chooses a node and takes a place on it for a call, over the calls of all edges, in one step.
-- KEYS: seats, totals. ARGV: call, edge, then for each candidate: node, weight, most calls (0 for no limit), tier.
-- Answers "edge<tab>node"; the place that the call has already, if it has one; nothing when all nodes are full.
-- What somebody else wrote in the place of a count or of a place is none; the next heartbeat puts counts right.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and string.find(known, '\t', 1, true) then return known end
local best, least, lowest
for at = 3, #ARGV, 4 do
  local calls = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or '0') or 0
  local most = tonumber(ARGV[at + 2])
  if most == 0 or calls < most then
    local load, tier = (calls + 1) / tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3])
    if not least or tier < lowest or (tier == lowest and load < least) then
      best, least, lowest = ARGV[at], load, tier
    end
  end
end
if not best then return false end
local seat = ARGV[2] .. '\t' .. best
redis.call('HSET', KEYS[1], ARGV[1], seat)
redis.pcall('HINCRBY', KEYS[2], best, 1)
return seat
