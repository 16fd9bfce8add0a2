#!/bin/sh
# After the files of @NAME@ are gone. What was counted stays, also when the package
# is purged: it is evidence for a bill. METERSEAL_PURGE_DATA=1 deletes it.
# $1 is remove, purge or upgrade (deb), or how many versions stay (rpm).
set -e
name=@NAME@
data=/var/lib/$name

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
case "$1" in
purge | 0) ;;
*) exit 0 ;;
esac
if [ "${METERSEAL_PURGE_DATA:-}" = 1 ]; then
	rm -rf "$data"
	echo "$name: $data is deleted"
elif [ -d "$data" ] && ! rmdir "$data" 2>/dev/null; then
	echo "$name: $data is kept: it is evidence of what was counted."
	echo "$name: to delete it for good: rm -r $data"
fi
