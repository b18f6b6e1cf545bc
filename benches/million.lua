-- For benches/million.py: every answer checked, status and body, and who gave it counted.

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init()
    first, second, wrong = 0, 0, 0
end

function response(status, headers, body)
    if status == 200 and body == "Response from server 1" then
        first = first + 1
    elseif status == 200 and body == "Response from server 2" then
        second = second + 1
    else
        wrong = wrong + 1
    end
end

function done(summary)
    local sums = { first = 0, second = 0, wrong = 0 }
    for _, thread in ipairs(threads) do
        for name, sum in pairs(sums) do
            sums[name] = sum + thread:get(name)
        end
    end
    local errors = summary.errors
    local broken = errors.connect + errors.read + errors.write + errors.timeout
    print(string.format("checked first=%d second=%d wrong=%d broken=%d", sums.first, sums.second, sums.wrong, broken))
end
