#!/bin/sh
# Records the documents of a print job with curl, all in one request:
#
#   sh curl.sh JOB TIME        sh curl.sh job-17 2026-11-03T10:15:03Z
#
# TIME is when the job was printed. It belongs to the event: one that is sent
# only tomorrow, after an outage, still counts today. METERSEAL_URL says where
# the daemon is, METERSEAL_TOKEN_FILE where the token is, if it wants one.
set -eu
job=$1 time=$2
node=${METERSEAL_NODE:-$(hostname -s)}
url=${METERSEAL_URL:-http://127.0.0.1:8633}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# The token comes from a file, so that no list of processes shows it.
if [ -n "${METERSEAL_TOKEN_FILE:-}" ]; then
	printf 'Authorization: Bearer %s\n' "$(cat "$METERSEAL_TOKEN_FILE")" >"$work/token"
else
	: >"$work/token"
fi

# Each event has an id of its own: however often it is sent, it counts once.
cat >"$work/events" <<EOF
{"id":"$job/1","meter":"render.pages","time":"$time","quantity":12,"dimensions":{"format":"pdf"}}
{"id":"$job/2","meter":"render.pages","time":"$time","quantity":8,"dimensions":{"format":"pdf"}}
{"id":"$job/3","meter":"render.pages","time":"$time","quantity":10,"dimensions":{"format":"pdf"}}
EOF

attempt=1
while :; do
	status=$(curl --silent --max-time 10 --output "$work/answer" --dump-header "$work/headers" --write-out '%{http_code}' \
		--header "Content-Type: application/x-ndjson" --header "Meterseal-Node: $node" --header "@$work/token" \
		--data-binary "@$work/events" "$url/v1/events") || status=000
	case $status in
	202) break ;;                 # everything that was taken is on the daemon's disk
	000 | 408 | 429 | 5??) ;;     # no answer, or not now: the same again, a little later
	*) attempt=8 ;;               # refused: the same again would be refused again
	esac
	if [ $attempt -ge 8 ]; then
		echo "$job is not stored: $status $(cat "$work/answer" 2>/dev/null)" >&2
		exit 1
	fi
	sleep "$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9][0-9]*\).*/\1/p' "$work/headers" 2>/dev/null | grep . || echo $attempt)"
	attempt=$((attempt + 1))
done

# 202 has one result per event, in order. Refused ones do not hold up the others.
if grep -q '"status":' "$work/answer"; then
	echo "not all of $job is stored: $(cat "$work/answer")" >&2
	exit 1
fi
echo "3 documents of $job are stored"
