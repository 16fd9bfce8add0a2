#!/bin/sh
# Totals of the traces in this folder, computed without Meterseal: shell and
# awk only, so that a replay can be compared with something it shares no code with.
#
#   day-totals.sh                      both traces, then their totals
#   day-totals.sh counts FILE [START]  per UTC day: YYYY-MM-DD <TAB> count
#   day-totals.sh csv FILE             per column:  NAME <TAB> sum
#
# counts: space-separated integers, one per second; START is the time of the
#         first, in RFC 3339 and UTC (default 1995-07-01T04:00:01Z).
# csv:    one header line, whole numbers from the second column on.
# FILE is read through gzip when its name ends in .gz. Days without any count
# are printed as 0. Exit status: 0, or 1 with a message on standard error.
set -eu
LC_ALL=C
export LC_ALL

fail() { echo "day-totals.sh: $*" >&2; exit 1; }

# check FILE, before a pipe begins: a pipe hides the status of its first command.
check() {
	[ -r "$1" ] || fail "cannot read $1"
	case $1 in
	*.gz) gzip -t -- "$1" || fail "$1 is damaged" ;;
	esac
}

read_file() {
	case $1 in
	*.gz) gzip -dc -- "$1" ;;
	*) cat -- "$1" ;;
	esac
}

# counts FILE START: seconds are added up by day number (days since 1970), and
# a day number becomes a date by arithmetic: mawk has no strftime.
counts() {
	read_file "$1" | tr -s ' \t\r' '\n\n\n' | awk -v start="$2" '
	function days(y, m, d,    era, yoe, doy) { # days since 1970-01-01
		if (m <= 2) y--
		era = int(y / 400); yoe = y - era * 400
		doy = int((153 * (m + (m > 2 ? -3 : 9)) + 2) / 5) + d - 1
		return era * 146097 + yoe * 365 + int(yoe / 4) - int(yoe / 100) + doy - 719468
	}
	function date(z,    era, doe, yoe, doy, mp, d, m, y) { # the inverse
		z += 719468
		era = int(z / 146097); doe = z - era * 146097
		yoe = int((doe - int(doe / 1460) + int(doe / 36524) - int(doe / 146096)) / 365)
		doy = doe - (365 * yoe + int(yoe / 4) - int(yoe / 100))
		mp = int((5 * doy + 2) / 153)
		d = doy - int((153 * mp + 2) / 5) + 1
		m = mp + (mp < 10 ? 3 : -9)
		y = yoe + era * 400 + (m <= 2 ? 1 : 0)
		return sprintf("%04d-%02d-%02d", y, m, d)
	}
	function bad(what) { print "day-totals.sh: " what > "/dev/stderr"; failed = 1; exit 1 }
	BEGIN {
		if (length(start) != 20 || split(start, p, /[-T:Z]/) < 6) bad("START is not like 1995-07-01T04:00:01Z: " start)
		day = days(p[1] + 0, p[2] + 0, p[3] + 0)
		second = p[4] * 3600 + p[5] * 60 + p[6]
	}
	/^$/ { next }
	!/^[0-9]+$/ { bad("value " n + 1 " is not a whole number: " $0) }
	{
		n++; sum += $0; open = 1
		if (++second == 86400) { printf "%s\t%d\n", date(day), sum; day++; second = 0; sum = 0; open = 0 }
	}
	END {
		if (failed) exit 1
		if (!n) bad("no value found")
		if (open) printf "%s\t%d\n", date(day), sum
	}'
}

# csv FILE: sums of the second column on, by the names in the header line.
csv() {
	read_file "$1" | tr -d '\r' | awk -F, '
	function bad(what) { print "day-totals.sh: " what > "/dev/stderr"; failed = 1; exit 1 }
	NR == 1 { columns = NF; for (i = 2; i <= NF; i++) name[i] = $i; next }
	/^$/ { next }
	{
		if (NF != columns) bad("line " NR " has " NF " columns, the header has " columns)
		for (i = 2; i <= NF; i++) {
			if ($i !~ /^[0-9]+$/) bad("line " NR ", column " name[i] ": not a whole number: " $i)
			sum[i] += $i
		}
	}
	END {
		if (failed) exit 1
		if (NR < 2) bad("no line found")
		for (i = 2; i <= columns; i++) printf "%s\t%d\n", name[i], sum[i]
	}'
}

case ${1-all} in
counts)
	[ $# -ge 2 ] || fail "usage: day-totals.sh counts FILE [START]"
	check "$2"
	counts "$2" "${3-1995-07-01T04:00:01Z}"
	;;
csv)
	[ $# -eq 2 ] || fail "usage: day-totals.sh csv FILE"
	check "$2"
	csv "$2"
	;;
all)
	here=$(dirname -- "$0")
	check "$here/nasa-http-1995.txt.gz"
	check "$here/azure-llm-code-2023.csv.gz"
	counts "$here/nasa-http-1995.txt.gz" 1995-07-01T04:00:01Z |
		awk -F '\t' '{ print; sum += $2 } END { printf "total\t%d\n", sum }'
	csv "$here/azure-llm-code-2023.csv.gz"
	;;
*)
	fail "unknown command $1: counts, csv, or none for both traces"
	;;
esac
