#!/bin/sh
# After the files of @NAME@ are in place: its user and its folders. Starts nothing,
# and works without systemd.
set -e
name=@NAME@

if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers "$name.conf"
fi
if ! getent passwd "$name" >/dev/null; then
	getent group "$name" >/dev/null || groupadd --system "$name"
	useradd --system --gid "$name" --home-dir "/var/lib/$name" --no-create-home --shell /usr/sbin/nologin "$name"
fi

# Secrets may stand in the configuration: its group reads it, nobody else.
chown root:"$name" "/etc/$name"
[ ! -e "/etc/$name/@CONFIG@" ] || chown root:"$name" "/etc/$name/@CONFIG@"
[ -d "/var/lib/$name" ] || install -d -m 0700 -o "$name" -g "$name" "/var/lib/$name"

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if systemctl --quiet is-active "$name.service"; then
		echo "$name: still runs as before the upgrade; then: systemctl restart $name"
	fi
fi
