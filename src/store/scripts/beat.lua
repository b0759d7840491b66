-- A heartbeat: says that an edge is there, and asks who else is.
-- KEYS: edges, epoch, then whatever is to be kept alive: log, state, seats, totals, gates. ARGV: edge, heartbeat, a new epoch for an
-- empty store, seconds to keep everything. Answers the epoch, all heartbeats, and the keys that were damaged.
-- All that is here is known to some edge first hand. So a key that is none of ours is moved aside, and when one was, or when this is
-- another server than before, which may have missed what was told last, everything is emptied for the edges to tell it again.
local kinds = { 'hash', 'string', 'stream', 'hash', 'hash', 'hash', 'hash' }
local damaged = {}
local function move_aside(key)
  redis.call('RENAME', key, key .. ':damaged')
  redis.call('EXPIRE', key .. ':damaged', ARGV[4])
  table.insert(damaged, key)
end
for at = 1, #KEYS do
  local kind = redis.call('TYPE', KEYS[at]).ok
  if kind ~= 'none' and kind ~= kinds[at] then move_aside(KEYS[at]) end
end
for _, count in ipairs(redis.call('HVALS', KEYS[6])) do
  if not string.match(count, '^%d+$') or #count > 15 then
    move_aside(KEYS[6])
    break
  end
end
-- A user of Redis who may not ask for it has no name of the server: then an epoch holds until it is lost.
local info = redis.pcall('INFO', 'server')
local server = '@' .. (type(info) == 'string' and string.match(info, 'run_id:(%x+)') or '')
local epoch = redis.call('GET', KEYS[2])
if #damaged > 0 or not epoch or string.sub(epoch, -#server) ~= server then
  -- What is told in this epoch stands behind this place of the log.
  local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  epoch = ARGV[3] .. '/' .. (last and last[1] or '0-0') .. server
  redis.call('SET', KEYS[2], epoch)
  redis.call('UNLINK', KEYS[1], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
for at = 1, #KEYS do redis.call('EXPIRE', KEYS[at], ARGV[4]) end
return { epoch, redis.call('HGETALL', KEYS[1]), damaged }
