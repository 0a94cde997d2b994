#!/bin/sh
# deb.sh: installs, upgrades, removes and purges the package that `make deb` has made. What it writes is gone
# afterwards (overlay mounts in a mount namespace). Wants root and Debian.
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" != inside ]; then exec unshare --mount --propagation private "$0" inside; fi

die() { echo "tests/deb.sh: $*" >&2; exit 1; }
deb=$(ls target/vipd_*.deb) || die "make deb"
work=/run
mount -t tmpfs tmpfs $work
for d in usr etc var; do
    mkdir -p $work/up/$d $work/work/$d
    mount -t overlay overlay -o lowerdir=/$d,upperdir=$work/up/$d,workdir=$work/work/$d /$d
done
unit=/etc/systemd/system/multi-user.target.wants/vipd.service

dpkg -i "$deb" >$work/log 2>&1 || { cat $work/log >&2; die "dpkg -i"; }
/usr/sbin/vipd --version
[ -L $unit ] || die "the service is not enabled"
[ ! -e /etc/vipd.ini ] || die "there is a vipd.ini that nobody has written"
[ -z "$(dpkg -V vipd)" ] || die "dpkg -V: $(dpkg -V vipd)"
# A package that is disabled stays so over an upgrade, and the administrator's file stays.
install -m 600 /usr/share/doc/vipd/examples/vipd.ini /etc/vipd.ini
systemctl disable vipd.service 2>/dev/null
dpkg -i "$deb" >$work/log 2>&1 || { cat $work/log >&2; die "dpkg -i once more"; }
[ ! -L $unit ] || die "the upgrade has enabled the service"
dpkg -r vipd >$work/log 2>&1
[ ! -e /usr/sbin/vipd ] || die "vipd is still there"
dpkg -P vipd >$work/log 2>&1
[ -e /etc/vipd.ini ] || die "the administrator's vipd.ini is gone"
rm /etc/vipd.ini
left=$(cd $work/up && find usr etc var \( -type f -o -type l \) -path "*vipd*" ! -path "var/lib/dpkg/*")
[ -z "$left" ] || die "left behind: $left"
echo "the package: installed, upgraded, removed, purged; 1 passed, 0 failed"
