#!/bin/bash
# init.sh: init/'s files for runit, s6 and OpenWrt's procd, under the real runit and s6, and under a stand-in
# for procd that does what its shell functions say (there is no procd here). Of each: start and readiness; a
# kill, after which vipd is started again and resumes; reload; stop, in its time; a configuration error, after
# which it stays down. Everything happens in namespaces of its own; root is needed. `init.sh runit`, `s6` or
# `procd` does one of them.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" != inside ]; then exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" inside "$@"; fi
shift
work=$(mktemp -d)
trap 'rm -rf "$work" 2>/dev/null || :' EXIT
die() { echo "init.sh: $*" >&2; tail -n 20 "$work/log" >&2; exit 1; }

# A machine: an interface, an empty /run, vipd where its package puts it, its file.
mount -t tmpfs tmpfs /run
ip link add eth0 type veth peer name other
ip link set other up
ip addr add 10.9.0.1/24 dev eth0
ip link set lo up
ip link set eth0 up
mkdir "$work/up" "$work/wd" "$work/uu" "$work/uw"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/up,workdir=$work/wd" /etc
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$work/uu,workdir=$work/uw" /usr
cp target/vipd /usr/sbin/vipd
configure() {
    printf '[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nadvert_int = 1\npriority = %s\nvirtual_ipaddress = 10.9.0.100/24\n' \
        "$1" >/etc/vipd.ini
    chmod 600 /etc/vipd.ini
}

await() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "not within the time: $what"
        sleep 0.05
    done
}
holds() { ip -4 addr show dev eth0 | grep -q 10.9.0.100; }
pid() { pidof vipd; }
gone() { ! pidof vipd; }
other() { [ -n "$(pid)" ] && [ "$(pid)" != "$1" ]; }
logged() { grep -q "$1" "$work/log"; }

# service NAME START STOP RELOAD: the commands, each a word for eval.
service() {
    local name=$1 before took
    configure 100
    eval "$2"
    await 10 "$name: master" holds
    before=$(pid)
    kill -KILL "$before"
    await 5 "$name: started again" other "$before"
    await 5 "$name: resumed" logged 'resumed within the lease'
    configure 90
    eval "$4"
    vipd status | grep -q 'priority 90' || die "$name: the reload is not in effect"
    before=$EPOCHREALTIME
    eval "$3"
    await 12 "$name: stopped" gone
    took=$(((${EPOCHREALTIME/./} - ${before/./}) / 1000))
    ! holds || die "$name: the address is still there"
    [ $took -lt 8000 ] || die "$name: the stop took $took ms"
    # A configuration error: exit status 2, and no endless starts.
    echo 'priorty = 3' >>/etc/vipd.ini
    eval "$2" || :
    await 5 "$name: the error is in the log" logged "unknown key .priorty"
    # Longer than any of them waits before the next start.
    before=$((SECONDS + 3))
    while [ $SECONDS -lt $before ]; do sleep 0.2; done
    [ "$(grep -c 'unknown key .priorty' "$work/log")" -le 2 ] || die "$name: it starts again and again"
    gone || die "$name: it runs"
    configure 100
    eval "$2"
    await 10 "$name: master with the corrected file" holds
    eval "$3"
    await 12 "$name: stopped again" gone
    echo "ok  $name: ready, killed and resumed, reloaded, stopped in $took ms, down after a configuration error until it is corrected"
}

runit() {
    mkdir -p "$work/sv"
    cp -r init/runit "$work/sv/vipd"
    touch "$work/sv/vipd/down"
    runsvdir -P "$work/sv" >"$work/log" 2>&1 &
    await 10 'runsv' test -p "$work/sv/vipd/supervise/control"
    service runit "sv start $work/sv/vipd >/dev/null" "sv -w 12 stop $work/sv/vipd >/dev/null" 'vipd reload >/dev/null'
    kill -HUP $! # runsvdir ends, and with it what it supervises
    wait $! || :
}

s6() {
    mkdir -p "$work/s6"
    cp -r init/s6 "$work/s6/vipd"
    touch "$work/s6/vipd/down"
    s6-svscan "$work/s6" >"$work/log" 2>&1 &
    await 10 's6-supervise' s6-svok "$work/s6/vipd"
    # U: up, and ready; D: down, and finished.
    service s6 "s6-svc -wU -T 10000 -u $work/s6/vipd" "s6-svc -wD -T 13000 -d $work/s6/vipd" 'vipd reload >/dev/null'
    s6-svscanctl -t "$work/s6"
    wait $! || :
}

# rc.common and procd, as far as a script of one instance can tell: the parameters are noted, and a loop
# starts the command and starts it again, as `respawn` says.
procd() {
    cat >/etc/rc.common <<'X'
script=$1 action=$2 state=/run/procd
mkdir -p $state
procd_open_instance() { :; }
procd_set_param() { k=$1; shift; echo "$*" >$state/$k; }
procd_close_instance() { :; }
. "$script"
run() {
    read -r _ wait _ <$state/respawn
    while :; do $(cat $state/command) >>$state/log 2>&1; sleep "$wait"; done
}
case $action in
start) start_service || exit; run & echo $! >$state/loop ;;
stop)
    read -r n <$state/term_timeout
    kill "$(cat $state/loop)" 2>/dev/null
    killall -q -TERM vipd || exit 0
    while [ "$n" -gt 0 ] && pidof vipd >/dev/null; do sleep 1; n=$((n - 1)); done
    ! killall -q -KILL vipd ;;
reload) reload_service ;;
*) "$action" ;;
esac
X
    printf '#!/bin/sh\nexec busybox ash /etc/rc.common "$@"\n' >/usr/sbin/rc
    chmod 755 /usr/sbin/rc
    mkdir -p /run/procd
    : >"$work/log"
    ln -s "$work/log" /run/procd/log
    local rc="rc $PWD/init/vipd.procd"
    service procd "$rc start >>$work/log 2>&1" "$rc stop" "$rc reload >/dev/null"
    configure 100
    $rc checkconfig >/dev/null || die "procd: checkconfig"
}

[ $# -gt 0 ] || set -- runit s6 procd
for t; do "$t"; done
