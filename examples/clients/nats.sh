#!/bin/sh
# Records the documents of a print job with the nats CLI:
#
#   sh nats.sh JOB TIME        sh nats.sh job-17 2026-11-03T10:15:03Z
#
# TIME is when the job was printed. It belongs to the event: one that is sent
# only tomorrow, after an outage, still counts today. NATS_URL says where the
# daemon is, NATS_CREDS names the file with the node's credentials, if it has any.
set -eu
job=$1 time=$2
node=${METERSEAL_NODE:-$(hostname -s)}

# record ID PAGES returns when the event is on the daemon's disk.
#
# --jetstream waits for the acknowledgement and fails if the event is refused.
# Without it nats pub waits for nothing, and nats request exits with 0 whatever
# the answer says. Nats-Msg-Id is the id: sent again, the event counts once. The
# inbox prefix is the one that a node with credentials is bound to.
record() {
	event="{\"time\":\"$time\",\"quantity\":$2,\"dimensions\":{\"format\":\"pdf\"}}"
	attempt=1
	until answer=$(nats pub --jetstream --no-templates --timeout 3s --inbox-prefix "_INBOX.$node" \
		-H "Nats-Msg-Id:$1" "usage.$node.render.pages" "$event" 2>&1); do
		case $answer in
		*"(20429)"* | *"(20503)"*) again=yes ;; # busy, or the store cannot be written now
		*"(20"*) again=no ;;                    # refused: the same again is refused again
		*) again=yes ;;                         # no answer: it may be stored or not
		esac
		if [ $again = no ] || [ $attempt -ge 8 ]; then
			echo "$1 is not stored: $answer" >&2
			return 1
		fi
		sleep $attempt
		attempt=$((attempt + 1))
	done
}

record "$job/1" 12
record "$job/2" 8
record "$job/3" 10
echo "3 documents of $job are stored"
