-- GETs with the header fields of a file: per line a path, then NAME=VALUE fields, all separated by tabs.
-- Arguments: FILE. Prints one line of JSON at the end.
local requests = {}
local at = 0

function init(args)
  for line in io.lines(args[1]) do
    local path, headers
    for field in line:gmatch("[^\t]+") do
      if path == nil then
        path, headers = field, {}
      else
        local name, value = field:match("^([^=]+)=(.*)$")
        headers[name] = value
      end
    end
    requests[#requests + 1] = wrk.format("GET", path, headers)
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
