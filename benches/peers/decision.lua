-- One decision, as the appliance makes it: idempotent by ticket id, account, market, price, stake, limits, stored.
-- KEYS: the ticket's result, its market, its customer. ARGV: selection, odds asked for (thousandths), stake (minor
-- units), policy, tolerance (per thousand), price version. Returns code:odds:stake:returned:number.
local stored = redis.call('GET', KEYS[1])
if stored then return stored end
local selection, asked, stake = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local policy, tolerance, version = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local account = redis.call('HMGET', KEYS[3], 'limit', 'open')
local market = redis.call('HMGET', KEYS[2], 'active', 'void_before', 'limit', 'p' .. selection, 'e' .. selection)
local price, code, winnings = tonumber(market[4] or 0), 0, 0
if not account[1] then code = 30
elseif not market[1] then code = 42
elseif market[1] ~= '1' then code = 43
elseif version < tonumber(market[2]) then code = 61
elseif (policy == 0 and price ~= asked) or (policy == 1 and price < asked)
    or (policy == 3 and price * 1000 < asked * (1000 - tolerance)) then code = 65
elseif stake < 10 then code = 70
elseif stake > 100000000 then code = 71
else
  winnings = math.floor(stake * price / 1000) - stake
  if tonumber(account[2]) + winnings > tonumber(account[1]) then code = 90
  elseif tonumber(market[5] or 0) + winnings > tonumber(market[3]) then code = 100 end
end
local returned, odds = 0, asked
if code == 0 then
  redis.call('HINCRBY', KEYS[3], 'open', winnings)
  redis.call('HINCRBY', KEYS[2], 'e' .. selection, winnings)
  returned, odds = winnings + stake, price
end
local result = string.format('%d:%d:%d:%d:%d', code, odds, stake, returned, redis.call('INCR', 'decided'))
redis.call('SET', KEYS[1], result, 'EX', 86400)
return result
