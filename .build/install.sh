#!/bin/sh
# install.sh install|uninstall: `make install` and `make uninstall`. The environment may hold
#   DESTDIR  the root of the tree to install into (empty: this machine's)
#   PREFIX   /usr
#   INIT     busybox, openrc, procd, runit, s6 or systemd: its files in their place; none: all as examples
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

# init_files INIT: the mode, the file in init/, and where it goes.
init_files() {
    case $1 in
    none)
        for file in inittab vipd.openrc vipd.procd vipd.service; do echo "644 $file $own/init/$file"; done
        directory runit "$own/init/runit"
        directory s6 "$own/init/s6"
        ;;
    openrc | procd) echo "755 vipd.$1 /etc/init.d/vipd" ;;
    runit) directory runit /etc/sv/vipd ;;
    s6) directory s6 /etc/s6/vipd ;;
    systemd) echo "644 vipd.service $prefix/lib/systemd/system/vipd.service" ;;
    esac
}

# directory NAME TO: every file of init/NAME.
directory() {
    (cd "init/$1" && find . -type f | sed 's|^\./||' | sort) | while read -r file; do
        mode=644
        ! [ -x "init/$1/$file" ] || mode=755
        echo "$mode $1/$file $2/$file"
    done
}

# put MODE FILE TO
put() {
    mkdir -p "$root${3%/*}"
    rewritten "$2" >"$root$3"
    chmod "$1" "$root$3"
}

put_init() {
    init_files "$init" | while read -r mode file to; do put "$mode" "$file" "$to"; done
    case $init in
    busybox)
        # An inittab boots the machine: one that is there is never touched.
        if ! [ -e "$root/etc/inittab" ]; then put 644 inittab /etc/inittab
        elif ! grep -q '^[^#]*/vipd' "$root/etc/inittab"; then
            echo "add to $root/etc/inittab, the second line above all that unmounts or kills:"
            rewritten inittab | grep '^[^#].*vipd'
        fi
        ;;
    openrc) echo "now: rc-update add vipd && rc-service vipd start" ;;
    procd) echo "now: /etc/init.d/vipd enable && /etc/init.d/vipd start" ;;
    runit) echo "now: ln -s /etc/sv/vipd /etc/service/" ;;
    s6) echo "now: add /etc/s6/vipd to s6-svscan's directory, or to the source of s6-rc's database" ;;
    systemd) echo "now: systemctl daemon-reload && systemctl enable --now vipd" ;;
    esac
}

# An init file goes unless somebody has changed it.
take_init_away() {
    for init in none openrc procd runit s6 systemd; do
        init_files $init | while read -r mode file to; do
            if rewritten "$file" | cmp -s - "$root$to"; then rm -f "$root$to"; fi
        done
    done
    for init in none openrc runit s6 systemd; do
        init_files $init | while read -r mode file to; do
            [ ! -e "$root$to" ] || echo "$root$to stays: it is not as \`make install\` wrote it"
        done
    done
    # The deepest first; what others have put there stays.
    for dir in "$own/init" /etc/sv/vipd /etc/s6/vipd; do
        [ ! -d "$root$dir" ] || find "$root$dir" -depth -type d -exec rmdir {} \; 2>/dev/null || :
    done
}

case $init in
none | busybox | openrc | procd | runit | s6 | systemd) ;;
*) die "INIT=$init is not known: none, busybox, openrc, procd, runit, s6 or systemd" ;;
esac
case $prefix in
/*) ;;
*) die "PREFIX=$prefix is not an absolute path" ;;
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
    take_init_away
    for dir in "$own" "$prefix/share/doc/vipd"; do
        rmdir "$root$dir" 2>/dev/null || :
    done
    ;;
*) die "install or uninstall?" ;;
esac
