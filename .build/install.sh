#!/bin/sh
# install.sh install|uninstall: `make install` and `make uninstall`. The environment may hold
#   DESTDIR  the root of the tree to install into (empty: this machine's)
#   PREFIX   /usr
#   INIT     busybox, openrc or systemd: that one's file in its place; none: all three as examples
# Nothing is copied before everything has been checked. `uninstall` removes the same files, of whichever INIT,
# but neither /etc/vipd.ini nor /etc/inittab, no directory that others use too, and no init file that somebody
# has changed.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
root=${DESTDIR:-} prefix=${PREFIX:-/usr} init=${INIT:-none}
own=$prefix/share/vipd

die() { echo "$0: $*" >&2; exit 1; }

# Everything but the init files: the mode, the file here, and where it goes.
files() {
    echo "755 target/vipd $prefix/sbin/vipd"
    echo "644 LICENSE $prefix/share/doc/vipd/LICENSE"
    echo "644 rootfs/etc/haproxy/haproxy.cfg $own/haproxy.cfg"
    (cd rootfs/usr/share && find man vipd bash-completion zsh fish -type f) | sort | while read -r file; do
        echo "644 rootfs/usr/share/$file $prefix/share/$file"
    done
}

# An init file names /usr/sbin/vipd; with another PREFIX it has to say so.
rewritten() { sed "s|/usr/sbin/vipd|$prefix/sbin/vipd|g" "init/$1"; }

# rewritten FILE TO MODE
put() {
    mkdir -p "$root${2%/*}"
    rewritten "$1" >"$root$2"
    chmod "$3" "$root$2"
}

put_init() {
    case $init in
    none) for file in inittab vipd.openrc vipd.service; do put $file "$own/init/$file" 644; done ;;
    busybox)
        # An inittab boots the machine: one that is there is never touched.
        if ! [ -e "$root/etc/inittab" ]; then put inittab /etc/inittab 644
        elif ! grep -q '^[^#]*/vipd' "$root/etc/inittab"; then
            echo "add to $root/etc/inittab, the second line above all that unmounts or kills:"
            rewritten inittab | grep '^[^#].*vipd'
        fi
        ;;
    openrc)
        put vipd.openrc /etc/init.d/vipd 755
        echo "now: rc-update add vipd && rc-service vipd start"
        ;;
    systemd)
        put vipd.service "$prefix/lib/systemd/system/vipd.service" 644
        echo "now: systemctl daemon-reload && systemctl enable --now vipd"
        ;;
    esac
}

# take_away FILE TO: unless it is another one.
take_away() {
    if ! [ -e "$root$2" ]; then return
    elif rewritten "$1" | cmp -s - "$root$2"; then rm -f "$root$2"
    else echo "$root$2 stays: it is not as \`make install\` wrote it"
    fi
}

case $init in
none | busybox | openrc | systemd) ;;
*) die "INIT=$init is not known: none, busybox, openrc or systemd" ;;
esac
case $prefix in
/*) ;;
*) die "PREFIX=$prefix is no absolute path" ;;
esac
case $prefix in *[!A-Za-z0-9/._+-]*) die "PREFIX=$prefix: the init files take letters, digits, / . _ + and - only" ;; esac

case ${1:-} in
install)
    newer=$(find src Cargo.toml Cargo.lock -type f -newer target/vipd | head -n 1)
    [ -z "$newer" ] || die "target/vipd is older than $newer: say \`make\` first"
    files | while read -r mode from to; do
        echo "$root$to"
        install -D -m "$mode" "$from" "$root$to"
    done
    # It holds a password, hence 600; and once it is there it is the administrator's.
    [ -e "$root/etc/vipd.ini" ] || install -D -m 600 rootfs/etc/vipd.ini "$root/etc/vipd.ini"
    put_init
    ;;
uninstall)
    files | while read -r mode from to; do rm -f "$root$to"; done
    for file in inittab vipd.openrc vipd.service; do rm -f "$root$own/init/$file"; done
    take_away vipd.openrc /etc/init.d/vipd
    take_away vipd.service "$prefix/lib/systemd/system/vipd.service"
    for dir in "$own/init" "$own" "$prefix/share/doc/vipd"; do
        rmdir "$root$dir" 2>/dev/null || :
    done
    ;;
*) die "install or uninstall?" ;;
esac
