# SPDX-License-Identifier: MIT
# Workload of bench/real/ruby: strings, hashes, arrays, JSON and threads.
require 'digest'
require 'json'

RANDOM = Random.new(1)

def digest(text) = Digest::SHA256.hexdigest(text)[0, 16]

def records(nr)
  (0...nr).map do |i|
    { 'id' => i, 'name' => "name #{RANDOM.rand(nr)} " * RANDOM.rand(20), 'list' => Array.new(RANDOM.rand(12)) { |j| i * j },
      'more' => { 'deep' => "value #{i} of a longer text", 'flag' => i.even? } }
  end
end

def churn(live, rounds)
  kept = Array.new(live) { 'x' * RANDOM.rand(2000) }
  rounds.times { |i| kept[RANDOM.rand(live)] = "#{i}," * RANDOM.rand(300) }
  kept.sum { |text| text.length * (text.empty? ? 1 : text.ord) }
end

8.times do |turn|
  text = JSON.generate(records(6000))
  parsed = JSON.parse(text)
  groups = parsed.group_by { |r| r['name'].length % 97 }
  names = groups.sort.map { |key, list| [key, list.map { |r| r['name'].upcase.split.join('-') }.sort.uniq] }
  puts "#{turn} #{text.length} #{digest(names.to_s)} #{churn(8000, 60_000)}"
end
sums = (1..4).map { |n| Thread.new { (1..40_000).map { |i| [i, "item #{i} of thread #{n} and some more"] }.to_h.sum { |k, v| k + v.length } } }
puts sums.map(&:value).join(' ')
puts digest((1..60_000).reduce(+'') { |text, i| text << i.to_s << ' ' }.gsub(/(\d)(\d+)/, '\2\1'))
