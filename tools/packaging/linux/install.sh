#!/bin/sh
# Installs both programs where there is neither dpkg nor rpm. Starts nothing. What
# is configured already stays as it is.
#
#   ./install.sh [--prefix DIR]        /usr/local unless told otherwise
#
# DESTDIR=DIR puts everything below DIR, for those who make packages of it.
set -eu
cd "$(dirname "$0")"
prefix=/usr/local
case "${1:-}" in
--prefix) prefix=${2:?--prefix needs a folder} ;;
--prefix=*) prefix=${1#--prefix=} ;;
"") ;;
*) echo "usage: ./install.sh [--prefix DIR]" >&2; exit 2 ;;
esac
root=${DESTDIR:-}

find bin lib share -type f | while read -r file; do
	mode=0644
	case $file in bin/*) mode=0755 ;; esac
	mkdir -p "$root$prefix/$(dirname "$file")"
	install -m "$mode" "$file" "$root$prefix/$file"
done
for name in meterseal meterseal-vendor; do
	unit=$root$prefix/lib/systemd/system/$name.service
	sed -i "s|/usr/bin/|$prefix/bin/|" "$unit"
	# systemd looks below /usr and /usr/local; elsewhere it needs a link.
	case $prefix in
	/usr | /usr/local) ;;
	*) mkdir -p "$root/etc/systemd/system"; ln -sf "$prefix/lib/systemd/system/$name.service" "$root/etc/systemd/system/$name.service" ;;
	esac
	if [ -z "$root" ] && ! getent passwd "$name" >/dev/null; then
		getent group "$name" >/dev/null || groupadd --system "$name"
		useradd --system --gid "$name" --home-dir "/var/lib/$name" --no-create-home --shell /usr/sbin/nologin "$name"
	fi
	install -d -m 0750 "$root/etc/$name"
	for file in etc/"$name"/*; do
		[ -e "$root/$file" ] || install -m 0640 "$file" "$root/$file"
	done
	[ -d "$root/var/lib/$name" ] || install -d -m 0700 "$root/var/lib/$name"
	if [ -z "$root" ]; then
		chgrp "$name" "/etc/$name" etc/"$name"/* 2>/dev/null || true
		for file in etc/"$name"/*; do chgrp "$name" "/$file"; done
		chown "$name:$name" "/var/lib/$name"
	fi
done
install -m 0755 uninstall.sh "$root$prefix/share/meterseal/uninstall.sh"
sed -i "s|^prefix=.*|prefix=$prefix|" "$root$prefix/share/meterseal/uninstall.sh"
[ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
echo "installed below $prefix. Next:"
echo "  edit /etc/meterseal/meterseal.yaml"
echo "  $prefix/bin/meterseal config check --config /etc/meterseal/meterseal.yaml"
echo "  systemctl enable --now meterseal"
