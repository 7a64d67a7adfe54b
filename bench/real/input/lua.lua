-- SPDX-License-Identifier: MIT
-- Workload of bench/real/lua: binary trees, strings, tables that grow, closures and coroutines, in both modes of collection.
local seed = 1
local function next_below(limit)
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  return (seed >> 8) % limit
end

local function tree(depth)
  if depth == 0 then return {} end
  return { tree(depth - 1), tree(depth - 1), name = 'n' .. depth }
end

local function count(node)
  return 1 + (node[1] and count(node[1]) + count(node[2]) or 0)
end

local function strings(live, rounds)
  local kept, sum = {}, 0
  for i = 1, rounds do
    kept[next_below(live) + 1] = ('v' .. i):rep(next_below(120))
  end
  for i = 1, live do sum = (sum * 31 + #(kept[i] or '')) % 1000003 end
  return sum
end

local function records(nr)
  local by_name, sum = {}, 0
  for i = 1, nr do
    local name = 'name' .. next_below(nr)
    by_name[name] = { id = i, name = name, add = function(n) return n + i end, list = { i, i + 1, i + 2 } }
  end
  for i = 0, nr - 1 do
    local record = by_name['name' .. i]
    if record then sum = (sum + record.add(#record.name) * record.list[3]) % 1000003 end
  end
  return sum
end

local function routines(nr)
  local sum = 0
  for i = 1, nr do
    local step = coroutine.wrap(function(n) while true do n = coroutine.yield(('y'):rep(n % 60)) end end)
    for j = 1, 5 do sum = sum + #step(i + j) end
  end
  return sum
end

for _, mode in ipairs { 'incremental', 'generational' } do
  collectgarbage(mode)
  local lasting = tree(15)
  for _ = 1, 4 do io.write(count(tree(13)), ' ') end
  print(mode, strings(30000, 150000), records(40000), routines(12000), count(lasting))
end
