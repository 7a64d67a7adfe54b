# SPDX-License-Identifier: MIT
# What the mawk and gawk workloads share: `awk_common PROGRAM` runs everything an awk must know.

awk_common() {
    local awk=$1
    cat >words.awk <<'PROGRAM'
function order(a, low, high,    i, last, middle, t) {
    if (low >= high) return
    middle = int((low + high) / 2)
    t = a[low]; a[low] = a[middle]; a[middle] = t
    last = low
    for (i = low + 1; i <= high; i++)
        if (a[i] < a[low]) { last++; t = a[last]; a[last] = a[i]; a[i] = t }
    t = a[low]; a[low] = a[last]; a[last] = t
    order(a, low, last - 1)
    order(a, last + 1, high)
}
{
    gsub(/[0-9.]+/, "")
    n = split($0, part, / +/)
    for (i = 1; i <= n; i++) { count[part[i]]++; after[part[i], part[i + 1]]++ }
    if (NR % 50 == 0) joined = joined substr($0, 5, 12) ","
    if (length(joined) > 20000) joined = substr(joined, 9000)
}
END {
    for (w in count) list[++m] = w
    order(list, 1, m)
    for (i = 1; i <= m; i++) printf "%-24s %6d %8.3f\n", list[i], count[list[i]], log(count[list[i]])
    for (pair in after) pairs += after[pair] * length(pair)
    print pairs, length(joined), toupper(substr(joined, 1, 40))
}
PROGRAM
    part words
    "$awk" -f words.awk "$CORPUS/text.txt" | digest
    part table
    "$awk" -F, 'NR > 1 { sum[$3] += $4; days[$3 "," substr($5, 1, 7)]++ }
        END { for (g in sum) printf "%s %.2f\n", g, sum[g] | "sort"; close("sort")
              for (d in days) print d, days[d] | "sort -n | tail -n 3" }' "$CORPUS/table.csv" | digest
    "$awk" -F, '{ $2 = sprintf("%10s", $2); $6 = NF; print > ("out." NR % 5) }' OFS=';' "$CORPUS/table.csv"
    digest out.*
    part pipes
    status_of "$awk" 'BEGIN { while (("seq 2000" | getline n) > 0) { s = s n " "; t += n ^ 2 }
        print length(s), t; exit 4 }'
}
