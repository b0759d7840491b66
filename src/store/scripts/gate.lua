-- Lets a call through to an agent, or not, over all edges, in one step.
-- KEYS: gates, seats, totals. ARGV: user, call, edge, node that calls to agents are counted on, "1" when he has to be free, what the
-- call shows of a reservation.
-- Whoever holds him holds him as long as his call has its place. A reservation stands here for a second: by then every edge has heard of it.
local holder = redis.call('HGET', KEYS[1], ARGV[1])
local held = false
if holder and string.sub(holder, 1, 2) == 'r:' then
  local token, since = string.match(holder, '^r:(%x+):(%d+)$')
  local time = redis.call('TIME')
  held = token and token ~= ARGV[6] and time[1] * 1000 + math.floor(time[2] / 1000) - since < 1000
elseif holder then
  held = holder ~= ARGV[2] and redis.call('HEXISTS', KEYS[2], holder) == 1
end
if held and ARGV[5] == '1' then return 0 end
if not held then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
if redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3] .. '\t' .. ARGV[4]) == 1 then
  redis.pcall('HINCRBY', KEYS[3], ARGV[4], 1)
end
return 1
