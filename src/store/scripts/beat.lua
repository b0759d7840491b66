-- A heartbeat: says that an edge is there, and asks who else is.
-- KEYS: edges, epoch, then whatever is to be kept alive. ARGV: edge, heartbeat, a new epoch for an empty store, seconds to keep everything.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('SETNX', KEYS[2], ARGV[3]) == 1 then redis.call('SET', KEYS[2], ARGV[3]) end
for at = 1, #KEYS do redis.call('EXPIRE', KEYS[at], ARGV[4]) end
return { redis.call('GET', KEYS[2]), redis.call('HGETALL', KEYS[1]) }
