-- PUTs of new names with one of a few random bodies.
-- Arguments: PREFIX FILE SIZE; FILE holds random bytes, SIZE is that of a body.
local prefix, size, bodies = nil, 0, {}
local number = 0

function init(args)
  prefix, size = args[1], tonumber(args[3])
  local file = assert(io.open(args[2], "rb"))
  local bytes = file:read("*a")
  file:close()
  for start = 1, #bytes - size + 1, size do
    bodies[#bodies + 1] = bytes:sub(start, start + size - 1)
  end
end

function request()
  number = number + 1
  return table.concat({
    "PUT ", prefix, string.format("%08d", number), " HTTP/1.1\r\nHost: ", wrk.host, ":", wrk.port,
    "\r\nContent-Length: ", size, "\r\n\r\n", bodies[number % #bodies + 1],
  })
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
