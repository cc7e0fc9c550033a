-- GETs of PREFIX000000 up to COUNT objects, one after another.
-- Arguments: PREFIX COUNT. Prints one line of JSON at the end.
local requests = {}
local at = 0

function init(args)
  for number = 0, tonumber(args[2]) - 1 do
    requests[#requests + 1] = wrk.format("GET", args[1] .. string.format("%06d", number))
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
