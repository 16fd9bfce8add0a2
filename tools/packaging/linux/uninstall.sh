#!/bin/sh
# Takes away what install.sh put on this machine. Configuration and what was counted
# stay, since that is evidence for a bill; --purge-data deletes both for good.
set -eu
prefix=/usr/local
purge=
while [ $# -gt 0 ]; do
	case $1 in
	--prefix) prefix=${2:?--prefix needs a folder}; shift ;;
	--prefix=*) prefix=${1#--prefix=} ;;
	--purge-data) purge=1 ;;
	*) echo "usage: uninstall.sh [--prefix DIR] [--purge-data]" >&2; exit 2 ;;
	esac
	shift
done
root=${DESTDIR:-}

for name in meterseal meterseal-vendor; do
	if [ -z "$root" ] && [ -d /run/systemd/system ]; then
		systemctl disable --now "$name.service" || true
	fi
	rm -f "$root$prefix/bin/$name" "$root$prefix/lib/systemd/system/$name.service" "$root/etc/systemd/system/$name.service" \
		"$root$prefix/lib/sysusers.d/$name.conf" "$root$prefix/share/bash-completion/completions/$name" \
		"$root$prefix/share/fish/vendor_completions.d/$name.fish" "$root$prefix/share/zsh/site-functions/_$name"
	rm -rf "$root$prefix/share/$name"
	rm -f "$root$prefix/share/man/man1/$name".1.gz "$root$prefix/share/man/man1/$name"-*.1.gz "$root$prefix/share/man/man5/$name"*.5.gz
	if [ -n "$purge" ]; then
		rm -rf "$root/var/lib/$name" "$root/etc/$name"
		echo "$root/var/lib/$name and $root/etc/$name are deleted"
	elif [ -d "$root/var/lib/$name" ]; then
		echo "$root/var/lib/$name is kept: it is evidence of what was counted"
	fi
done
rm -f "$root$prefix/share/man/man5/vendor.yaml.5.gz"
