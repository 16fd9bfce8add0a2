#!/bin/sh
# Before the files of @NAME@ go: its service ends, unless a newer version follows.
# $1 is remove or upgrade (deb), or how many versions stay (rpm).
set -e
case "$1" in
upgrade | failed-upgrade | deconfigure | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now @NAME@.service
fi
