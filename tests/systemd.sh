#!/bin/bash
# systemd.sh: init/vipd.service, from the package that `make deb` made, under a real systemd: process 1 of a
# container whose root debootstrap fills (target/systemd-root: 3 min and 200 MB, once). Start and readiness; a
# kill, after which vipd is back within its lease; reload; a hang, which the watchdog ends; stop; a
# configuration error. HAProxy changes its user and has a chroot and a socket, so what the unit forbids is not
# too much. Wants root, a Docker engine, and debootstrap for the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
name=vtsd$$
address=10.213.$((250 + $$ % 5))
root=target/systemd-root
die() { echo "systemd.sh: $*" >&2; docker exec "$name" journalctl -u vipd --no-pager 2>/dev/null | tail -n 20 >&2; exit 1; }
cleanup() {
    trap '' HUP INT TERM
    docker rm -f "$name" >/dev/null 2>&1
    docker network rm "$name" >/dev/null 2>&1
    docker rmi "$name" >/dev/null 2>&1
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

if [ ! -e $root/sbin/init ]; then
    rm -rf $root.new
    # shellcheck disable=SC2016  # apt's variables, not the shell's
    from=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' | sed -n 's/ Debian$//p' | head -n 1)
    debootstrap --variant=minbase --include=systemd-sysv,iproute2,procps bookworm $root.new "$from" >target/systemd-root.log 2>&1 ||
        die "debootstrap: $(tail -n 3 target/systemd-root.log)"
    mv $root.new $root
fi
deb=$(ls target/vipd_*_"$(dpkg --print-architecture)".deb) || die "make deb"
.build/haproxy.sh
{
    tar -C $root -c --exclude=./proc --exclude=./sys --exclude=./var/cache/apt .
} | docker import - "$name" >/dev/null
docker network create --subnet "$address.0/24" "$name" >/dev/null
docker run -d --name "$name" --network "$name" --ip "$address.11" --cap-add SYS_ADMIN --cap-add NET_ADMIN \
    --cap-add DAC_READ_SEARCH --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --sysctl net.ipv4.ip_nonlocal_bind=1 --tmpfs /run --tmpfs /tmp -v /sys/fs/cgroup:/sys/fs/cgroup "$name" \
    /lib/systemd/systemd >/dev/null

x() { docker exec "$name" "$@"; }
put() { docker exec -i "$name" sh -c "mkdir -p '${1%/*}' && cat >'$1'"; }
show() { x systemctl show -p "$1" --value vipd; }
await() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "not within the time: $what"
        sleep 0.2
    done
}
is_status() { [ "$(show StatusText)" = "$1" ]; }
is_other() { [ "$(show MainPID)" != "$1" ] && [ "$(show ActiveState)" = active ]; }
logged() { case $(x journalctl -u vipd --no-pager) in *"$1"*) ;; *) false ;; esac; }

await 20 'systemd' x systemctl is-system-running --wait
put /root/vipd.deb <"$deb"
put /usr/sbin/haproxy <target/haproxy-static/haproxy
x chmod 755 /usr/sbin/haproxy
x mkdir -p /var/empty
sed -e "s/192.168.30.230:5000/$address.100:80/" -e 's/uid 65534/user nobody/' \
    -e 's|gid 65534|group nogroup\n    chroot /var/empty\n    stats socket /run/haproxy.sock mode 660 user nobody|' \
    rootfs/etc/haproxy/haproxy.cfg | put /etc/haproxy/haproxy.cfg
x dpkg -i /root/vipd.deb >/dev/null 2>&1 || die "dpkg -i"
[ "$(x systemctl is-enabled vipd) $(show ActiveState)" = 'enabled inactive' ] || die "it does not wait for its file"

printf '%s\n' '[haproxy]' '[vrrp VI_1]' 'interface = eth0' 'virtual_router_id = 51' 'track = web' \
    "virtual_ipaddress = $address.100/24" '[check web]' 'type = exec' 'target = /bin/true' | put /etc/vipd.ini
x chmod 600 /etc/vipd.ini
x systemctl start vipd || die "systemctl start"
await 10 'master' is_status '1 MASTER, 0 BACKUP, 0 FAULT'
await 5 'HAProxy answers' curl -sf -m 1 "http://$address.100/"
pid=$(show MainPID)
x kill -KILL "$pid"
await 5 'started again' is_other "$pid"
await 5 'resumed' logged 'resumed within the lease'
x systemctl reload vipd || die "systemctl reload"
pid=$(show MainPID)
x kill -STOP "$pid"
await 45 'the watchdog' is_other "$pid"
await 10 'master again' is_status '1 MASTER, 0 BACKUP, 0 FAULT'
from=$EPOCHREALTIME
x systemctl stop vipd
took=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
[ "$(show Result)" = success ] || die "stop: $(show Result)"
! x pgrep haproxy >/dev/null || die "HAProxy is left behind"
x sh -c 'echo priorty = 3 >>/etc/vipd.ini'
! x systemctl start vipd 2>/dev/null || die "it starts with a wrong file"
[ "$(show ExecMainStatus) $(show NRestarts)" = '2 0' ] || die "configuration error: $(show ExecMainStatus), restarts: $(show NRestarts)"
echo "systemd $(x systemctl --version | sed -n '1s/systemd //p'): started, killed and resumed, reloaded, hung and ended, stopped in $took ms, down after a configuration error"
echo '1 passed, 0 failed'
