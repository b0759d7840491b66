-- Holds an agent for a call that is still to come, or not, over all edges, in one step, and tells the edges of it.
-- KEYS: gates, seats, log. ARGV: user, what the call will show, the entry for the log, length of the log.
-- Whoever has a call has him, and for a second whoever held him last: by then every edge has heard of it and asks no more.
local holder = redis.call('HGET', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if holder and string.sub(holder, 1, 2) == 'r:' then
  local since = string.match(holder, ':(%d+)$')
  if since and now - since < 1000 then return 0 end
elseif holder and redis.call('HEXISTS', KEYS[2], holder) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], 'r:' .. ARGV[2] .. ':' .. string.format('%.0f', now))
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'e', ARGV[3])
return 1
