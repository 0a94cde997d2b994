#!/bin/sh
# deb.sh: target/vipd_VERSION_ARCH.deb with target/vipd, made by dpkg-deb alone, without root, and judged by
# lintian where that is installed. The same source gives the same bytes.
#   TARGET             as for static.sh
#   MAINTAINER         "NAME <ADDRESS>" of whoever hands the package out
#   SOURCE_DATE_EPOCH  the time of every file
# The example of a vipd.ini is in /usr/share/doc/vipd/examples. There is no /etc/vipd.ini, so no conffile: the
# service is enabled and started at the installation, as Debian's are, and may not take an address that nobody
# has asked for. It waits for its file (ConditionPathExists in the unit).
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022
cd "$(dirname "$0")/.."
die() { echo "$0: $*" >&2; exit 1; }
command -v dpkg-deb >/dev/null || die "dpkg-deb is needed (Debian: dpkg; Alpine: apk add dpkg)"

t=${TARGET:-$(uname -m)}
case $t in
    x86_64*) arch=amd64 ;;
    aarch64*) arch=arm64 ;;
    arm*hf | armv7l) arch=armhf ;;
    arm*) arch=armel ;;
    i?86*) arch=i386 ;;
    riscv64*) arch=riscv64 ;;
    *) arch=${t%%-*} ;;
esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)-1
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}"
maintainer=${MAINTAINER:-vipd developers <vipd@vipd.invalid>}

root=$(mktemp -d target/.deb.XXXXXX)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$root"
doc=$root/usr/share/doc/vipd
make --no-print-directory install DESTDIR="$PWD/$root" INIT=systemd >/dev/null
mkdir -p "$doc/examples" "$root/lib" "$root/usr/share/lintian/overrides"
mv "$root/usr/lib/systemd" "$root/lib/"
rmdir "$root/usr/lib"
mv "$root/etc/vipd.ini" "$root/usr/share/vipd/haproxy.cfg" "$doc/examples/"
chmod 644 "$doc/examples/vipd.ini"
# The pages say where make install puts the example.
ln -s ../doc/vipd/examples/haproxy.cfg "$root/usr/share/vipd/haproxy.cfg"
rmdir "$root/etc"
# Its terms are in `copyright`, and zsh looks elsewhere on Debian.
rm "$doc/LICENSE"
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
find "$root/usr/share/man" -type f -exec gzip -9n {} +

gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
printf 'vipd (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' "$version" "$maintainer" \
    "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
{
    echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: vipd

Files: *
Copyright: 2026 the vipd authors
License: Expat or Apache-2.0

License: Expat'
    sed -n '/^Permission is/,/^SOFTWARE\.$\|^=====/{/^=====/d;s/^$/./;s/^/ /;p}' LICENSE | sed '$!b;/^ \.$/d'
    echo '
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.'
} >"$doc/copyright"
cat >"$doc/README.Debian" <<'X'
vipd for Debian
===============

The service is enabled and waits for its file:

    install -m 600 /usr/share/doc/vipd/examples/vipd.ini /etc/vipd.ini    # and edit it
    systemctl disable --now haproxy    # with [haproxy] in vipd.ini: vipd starts it
    vipd -t
    systemctl start vipd
X
cat >"$root/usr/share/lintian/overrides/vipd" <<'X'
# A static program; a relocatable one is no library. On purpose: it works whatever becomes of libraries.
vipd: shared-library-lacks-prerequisites [usr/sbin/vipd]
vipd: statically-linked-binary [usr/sbin/vipd]
# Debian has no bug that asks for this package.
vipd: initial-upload-closes-no-bugs *
X

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<X
Package: vipd
Version: $version
Architecture: $arch
Maintainer: $maintainer
Section: net
Priority: optional
Pre-Depends: init-system-helpers (>= 1.54~)
Recommends: haproxy
Suggests: nftables
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Description: floating address for a pair of HAProxy machines
 vipd speaks VRRP, holds virtual addresses while it is master, announces
 them, and starts, watches and reloads HAProxy, in one small static program.
 It interoperates with keepalived packet for packet. An address is a lease: a
 node that fails is silent before the other one takes over.
X
(cd "$root" && find usr lib -type f -exec md5sum {} + | sort -k2) >"$root/DEBIAN/md5sums"

# What debhelper's dh_installsystemd writes (compat level 13), in its words.
cat >"$root/DEBIAN/postinst" <<'X'
#!/bin/sh
set -e
if [ "$1" = "configure" ] || [ "$1" = "abort-upgrade" ] || [ "$1" = "abort-deconfigure" ] || [ "$1" = "abort-remove" ]; then
	deb-systemd-helper unmask 'vipd.service' >/dev/null || true
	# was-enabled defaults to true, so new installations run enable.
	if deb-systemd-helper --quiet was-enabled 'vipd.service'; then
		deb-systemd-helper enable 'vipd.service' >/dev/null || true
	else
		deb-systemd-helper update-state 'vipd.service' >/dev/null || true
	fi
	if [ -d /run/systemd/system ]; then
		systemctl --system daemon-reload >/dev/null || true
		if [ -n "$2" ]; then
			_dh_action=restart
		else
			_dh_action=start
		fi
		deb-systemd-invoke $_dh_action 'vipd.service' >/dev/null || true
	fi
fi
X
cat >"$root/DEBIAN/prerm" <<'X'
#!/bin/sh
set -e
# Not at an upgrade: the new one takes over in postinst.
if [ -z "${DPKG_ROOT:-}" ] && [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop 'vipd.service' >/dev/null || true
fi
X
cat >"$root/DEBIAN/postrm" <<'X'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ] && command -v deb-systemd-helper >/dev/null; then
	deb-systemd-helper purge 'vipd.service' >/dev/null || true
	deb-systemd-helper unmask 'vipd.service' >/dev/null || true
fi
X
chmod 755 "$root"/DEBIAN/p*

out=target/vipd_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$out" >/dev/null
echo "$out: $(wc -c <"$out") bytes, installed $(sed -n 's/^Installed-Size: //p' "$root/DEBIAN/control") KB"
sha256sum "$out"
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning "$out"
    echo "lintian $(lintian --print-version) finds nothing"
fi
