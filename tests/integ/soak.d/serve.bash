# SPDX-License-Identifier: MIT
# One program of tests/integ/soak, told by lines on standard input what to do next; each is answered by one line. The program's file has
# three functions: start, stop, and cycle, whose output must be the same each time, however long the program has run.
#   cycle    answered by `cycle DIGEST`, of what it printed; kept in the file last
#   restart  by `restarted`
#   stop     by the end
. "$PROGRAMS_D/lib.bash"
# shellcheck source=/dev/null
. "$1"

# Answers go out by 3, which no server may hold: its end is the end of this shell.
exec 3>&1 >&2
start 3>&-
echo ready >&3
while read -r word; do
    case $word in
    cycle)
        cycle >"$WORK/last" 3>&-
        echo "cycle $(digest <"$WORK/last")" >&3
        ;;
    restart)
        stop 3>&-
        start 3>&-
        echo restarted >&3
        ;;
    stop)
        stop
        exit 0
        ;;
    esac
done
exit 1
