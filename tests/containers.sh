#!/usr/bin/env bash
# containers.sh: pairs of containers on a network of Docker's, with the image that `make oci` has made: stop,
# kill, pause, crash, restart, HEALTHCHECK, two in one network namespace, beside HAProxy in another container,
# and init/compose.yaml. Wants root and a running engine. It has names of its own, so two may run at once, and
# removes what it made, also when it is interrupted.
#
# The client asks again and again with a fresh ARP request each time; tcpdump sees who answers. That nobody
# answers twice is read from the MACs of ARP replies and of SYN-ACKs: "a b", never "a b a b". What the client
# and the engine saw of each step stays in target/containers/.
set -euo pipefail
cd "$(dirname "$0")/.."
image=target/vipd-oci.tar
id=$$
net=vt$id
subnet=10.213.$((id % 250))
vip=$subnet.100
port=8080
dir=$(mktemp -d)
passed=0
seen=target/containers
rm -rf $seen
mkdir -p $seen

die() { echo "containers.sh: $*" >&2; exit 1; }
compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }

cleanup() {
    local status=$? left
    trap '' HUP INT TERM
    set +e
    if [ $status -ne 0 ]; then
        for left in $(docker ps -aq --filter "name=$net"); do
            echo "--- $(docker inspect -f '{{.Name}} {{.State.Status}} {{.State.ExitCode}}' "$left")"
            docker logs "$left" 2>&1 | grep -v 'GET /' | tail -n 15
        done
    fi
    jobs -p | xargs -r kill 2>/dev/null
    wait
    docker ps -aq --filter "name=$net" | xargs -r docker rm -f >/dev/null
    docker network ls -q --filter "name=$net" | xargs -r docker network rm >/dev/null
    docker rmi "$net" >/dev/null 2>&1
    ip netns del "$net" 2>/dev/null # and with it the veths
    rm -rf "$dir"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

# await SECONDS WHAT COMMAND...: until it succeeds.
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "not within the time: $what"
        sleep 0.1
    done
}

pass() { passed=$((passed + 1)); echo "ok  $*"; }
state() { docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$net-$1"; }
health() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$net-$1")" = "$2" ]; }
# What `vipd status` says of the virtual router.
is() { case $(docker exec "$net-$1" vipd status) in *"
VI_1  $2"*) ;; *) false ;; esac; }
at=() # where the client is: this machine, or `ip netns exec NAME`
answers() { [ "$("${at[@]}" curl -s -m 1 "http://$vip:$port/")" = "$1" ]; }
logged() { case $(docker logs "$net-$1" 2>&1) in *"$2"*) ;; *) false ;; esac; }
restarted() { [ "$(docker inspect -f '{{.RestartCount}}' "$net-$1")" = "$2" ]; }
is_state() { [ "$(state "$1")" = "$2" ]; }

# configure N PRIORITY: the two files of a node.
configure() {
    mkdir -p "$dir/$1/haproxy"
    cat >"$dir/$1/vipd.ini" <<X
[global]
router_id = $1
[haproxy]
[vrrp VI_1]
interface = eth0
virtual_router_id = 51
version = 3
priority = $2
advert_int = 0.2
virtual_ipaddress = $vip/24
X
    sed -e "s/192.168.30.230:5000/$vip:$port/" -e "s|log /dev/log|log stderr format raw|" \
        -e "s/string \"%H/string \"$1/" rootfs/etc/haproxy/haproxy.cfg >"$dir/$1/haproxy/haproxy.cfg"
}

# create NAME ADDRESS OPTION...: starts a node as the manual says.
caps=(--cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW)
for_haproxy=(--cap-add KILL --cap-add SETUID --cap-add SETGID --cap-add NET_BIND_SERVICE)
sysctls=(--sysctl net.ipv4.ip_nonlocal_bind=1 --sysctl net.ipv6.ip_nonlocal_bind=1
    --sysctl net.ipv4.conf.eth0.promote_secondaries=1 --sysctl net.ipv4.conf.eth0.arp_announce=2)
files() { echo "-v $dir/$1/vipd.ini:/etc/vipd.ini:ro -v $dir/$1/haproxy:/etc/haproxy:ro"; }
start() {
    local name=$1 address=$2
    shift 2
    # shellcheck disable=SC2046  # words on purpose
    docker run -d --name "$net-$name" --network "$net" --ip "$subnet.$address" --read-only --tmpfs /run \
        "${caps[@]}" "${for_haproxy[@]}" "${sysctls[@]}" --security-opt no-new-privileges:true \
        --health-interval 1s --health-retries 2 $(files "$name") "$@" "$net" >/dev/null
}

# Sequences of answering MACs, as names of nodes, since `watch`; and the client's requests that failed.
mac() { docker inspect -f "{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}" "$net-$1"; }
watch() {
    : >"$dir/client"
    : >"$dir/wire"
    tcpdump -i "$net" -nn -e -tt -l "(arp[6:2] = 2 and arp[14:4] = 0x$(printf %02x ${vip//./ })) or
        (src host $vip and tcp[13] = 18)" >"$dir/wire" 2>"$dir/tcpdump" &
    dumper=$!
    await 5 'tcpdump' grep -q listening "$dir/tcpdump"
    while :; do
        ip neigh flush dev "$net" to "$vip" 2>/dev/null || :
        echo "$(date +%s.%N) $(curl -s -m 1 "http://$vip:$port/" || echo failed)"
        sleep 0.02
    done >"$dir/client" &
    client=$!
}
served_by() { [ "$(grep -c " $1\$" "$dir/client")" -ge 10 ]; } # so often that ARP was asked again, too
unwatch() { # NAME of the step
    kill "$client" "$dumper"
    wait "$client" "$dumper" 2>/dev/null || :
    cp "$dir/client" "$seen/$1.client"
    cp "$dir/wire" "$seen/$1.wire"
    {
        docker ps -a --filter "name=$net" --format 'table {{.Names}}\t{{.Status}}'
        for n in a b; do docker inspect -f "$n {{json .State}}" "$net-$n"; done
    } >"$seen/$1.engine"
}
failures() { grep -c failed "$dir/client" || :; }
sequence() { # KIND: ARP or TCP; prints e.g. "a b"
    sed -n "s/^[0-9.]* \([0-9a-f:]*\) > .*$1.*/\1/p" "$dir/wire" | sed "s/$mac_a/a/; s/$mac_b/b/" | uniq | paste -sd ' '
}
# The longest time between two good answers, in milliseconds.
gap() { awk '!/failed/ { if (t && $1 - t > g) g = $1 - t; t = $1 } END { printf "%d", g * 1000 }' "$dir/client"; }
told() { echo "$(wc -l <"$dir/client") requests, $(failures) failed, longest gap $(gap) ms; ARP: $(sequence ARP); TCP: $(sequence IPv4)"; }

# pair: node a is master and node b its backup, both healthy.
pair() {
    start a 11
    start b 12
    await 15 "a is master" is a MASTER
    await 15 "b is backup" is b BACKUP
    await 15 "a is healthy" health a healthy
    await 15 "b is healthy" health b healthy
    mac_a=$(mac a) mac_b=$(mac b)
}
back() { # after a fault: a is master again, and b backup
    await 15 "a is master again" is a MASTER
    await 15 "b is backup again" is b BACKUP
    await 15 "a answers again" answers a
}
drop() { docker rm -f "$@" >/dev/null; }

planned_stop() {
    watch
    await 5 "the client is served" served_by a
    local from=$EPOCHREALTIME
    docker stop "$net-a" >/dev/null
    local took=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
    [ "$(state a)" = 'exited 0' ] || die "docker stop: $(state a)"
    [ $took -lt 10000 ] || die "docker stop took $took ms"
    await 5 "b answers" served_by b
    docker start "$net-a" >/dev/null
    back
    docker stop "$net-b" >/dev/null
    [ "$(state b)" = 'exited 0' ] || die "docker stop of the backup: $(state b)"
    docker start "$net-b" >/dev/null
    back
    unwatch stop
    [ "$(failures)" = 0 ] || die "requests failed: $(told)"
    pass "docker stop and start of the master, then of the backup ($took ms, exit 0): $(told)"
}

kill_master() {
    watch
    await 5 "the client is served" served_by a
    docker kill "$net-a" >/dev/null
    await 10 "b answers" served_by b
    unwatch kill
    [ "$(sequence ARP) $(sequence IPv4)" = 'a b a b' ] || die "docker kill: $(told)"
    pass "docker kill of the master: $(told)"
    docker start "$net-a" >/dev/null
    await 15 "a is master again" is a MASTER
    mac_a=$(mac a)
    back
}

# The processes stand still, the kernel of the paused container does not: without the fence it would go on
# answering ARP and accepting connections.
pause_master() {
    watch
    await 5 "the client is served" served_by a
    docker pause "$net-a" >/dev/null
    await 10 "b answers" served_by b
    local until=$((SECONDS + 3)) # the fence holds, not only at first
    while [ $SECONDS -lt $until ]; do sleep 0.2; done
    unwatch pause
    [ "$(sequence ARP) $(sequence IPv4)" = 'a b a b' ] || die "docker pause: $(told)"
    pass "docker pause of the master: $(told)"
    watch
    docker unpause "$net-a" >/dev/null
    back
    unwatch unpause
    [ "$(failures)" = 0 ] || die "requests failed after unpause: $(told)"
    pass "docker unpause: $(told)"
}

crash() {
    docker update --restart always "$net-a" >/dev/null
    kill -KILL "$(docker inspect -f '{{.State.Pid}}' "$net-a")"
    await 10 "the engine starts a again" restarted a 1
    back
    mac_a=$(mac a)
    pass "vipd killed under --restart always: container started again, master again"
}

health_check() {
    local pid
    pid=$(docker inspect -f '{{.State.Pid}}' "$net-b")
    nsenter -t "$pid" -n ip link set eth0 down
    await 10 "b is unhealthy in FAULT" health b unhealthy
    nsenter -t "$pid" -n ip link set eth0 up
    await 10 "b is healthy again" health b healthy
    pass "HEALTHCHECK: unhealthy without its interface, healthy with it: $(docker ps --filter "name=$net-b" --format '{{.Status}}')"
}

one_namespace() {
    local said status=0
    # shellcheck disable=SC2046
    said=$(docker run --rm --network "container:$net-a" --read-only --tmpfs /run "${caps[@]}" "${for_haproxy[@]}" \
        $(files b) "$net" 2>&1) || status=$?
    [ $status = 1 ] || die "a second vipd in one network namespace ends with $status: $said"
    case $said in *"network namespace"*) ;; *) die "a second vipd in one network namespace: $said" ;; esac
    is a MASTER || die "the first vipd is disturbed"
    pass "a second vipd in one network namespace (as --network host twice) is refused: $(echo "$said" | grep 'network namespace')"
}

wrong_configuration() {
    configure c 80
    echo 'priorty = 3' >>"$dir/c/vipd.ini"
    start c 13 --restart on-failure:2
    # 2 and not running: the engine has tried it three times.
    await 15 "the engine gives up" is_state c 'exited 2'
    await 15 "and has tried it again" restarted c 2
    logged c 'vipd.ini:11: unknown key ' || die "no line for the error"
    drop "$net-c"
    pass "configuration error: exit 2, file and line in the log, tried again as --restart says"
}

# vipd beside HAProxy in another container, in whose network it is: no [haproxy], but a [check].
companion() {
    local n
    for n in a b; do
        sed -i -e "s|^\[haproxy\]|[check web]\ntype = http\ntarget = 127.0.0.1:$port/\ninterval = 0.3\nfall = 2|" \
            -e 's/^interface = .*/&\ntrack = web/' "$dir/$n/vipd.ini"
        sed -i "s/bind $vip:$port/bind :$port/" "$dir/$n/haproxy/haproxy.cfg"
    done
    local address=11
    for n in a b; do
        docker run -d --name "$net-haproxy-$n" --network "$net" --ip "$subnet.$address" --read-only --cap-drop ALL \
            --cap-add SETUID --cap-add SETGID "${sysctls[@]}" -v "$dir/$n/haproxy:/etc/haproxy:ro" \
            --no-healthcheck --entrypoint /usr/sbin/haproxy "$net" -W -db -f /etc/haproxy/haproxy.cfg >/dev/null
        docker run -d --name "$net-$n" --network "container:$net-haproxy-$n" --read-only --tmpfs /run "${caps[@]}" \
            --security-opt no-new-privileges:true -v "$dir/$n/vipd.ini:/etc/vipd.ini:ro" "$net" >/dev/null
        address=$((address + 1))
    done
    back
    docker kill --signal KILL "$net-haproxy-a" >/dev/null
    await 10 "b answers" answers b
    # What is started anew has another network; the one that vipd is in has lost its interface.
    docker start "$net-haproxy-a" >/dev/null
    await 10 "a is in FAULT" is a FAULT
    docker restart "$net-a" >/dev/null
    back
    pass "beside HAProxy in another container: HAProxy killed, the other node answers; both started anew, master again"
    drop "$net-a" "$net-b" "$net-haproxy-a" "$net-haproxy-b"
}

# init/compose.yaml as it ships, once for each "machine": the parents of the two macvlans are ports of one
# bridge. One engine does not take two networks with the same subnet, so each node has one half.
compose_pair() {
    local n half=0
    # In a namespace of its own: Docker has the kernel drop what other bridges forward.
    ip netns add "$net"
    at=(ip netns exec "$net")
    ip -n "$net" link add br0 type bridge
    ip -n "$net" addr add "$subnet.1/24" dev br0
    ip -n "$net" link set br0 up
    for n in a b; do
        ip link add "$net$n" type veth peer name port$n netns "$net"
        ip -n "$net" link set port$n master br0
        ip -n "$net" link set port$n up
        ip link set "$net$n" up
        cp init/compose.yaml "$dir/$n/"
        sed -i "s/image: .*/image: $net/" "$dir/$n/compose.yaml"
        configure "$n" $((200 - half))
        (cd "$dir/$n" && ADDRESS=$subnet.$((half + 11)) SUBNET=$subnet.$half/25 GATEWAY=$subnet.$((half + 9)) \
            PARENT=$net$n NODE=$n compose -p "$net-$n" up -d >"$dir/compose" 2>&1) || { cat "$dir/compose"; die "compose up"; }
        half=$((half + 128))
    done
    await 20 "a answers" answers a
    (cd "$dir/a" && ADDRESS=0 compose -p "$net-a" stop >"$dir/compose" 2>&1) || { cat "$dir/compose"; die "compose stop"; }
    await 10 "b answers" answers b
    for n in a b; do (cd "$dir/$n" && ADDRESS=0 compose -p "$net-$n" down >"$dir/compose" 2>&1) || die "compose down"; done
    pass "init/compose.yaml: two nodes on macvlan networks, stop, the other node answers"
}

[ -e $image ] || die "$image is missing: make oci"
docker info >/dev/null 2>&1 || die "no Docker engine answers (docker info)"
# The image under a name of our own; a vipd image that was there keeps its name.
tag=vipd:$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
before=$(docker images -q --no-trunc "$tag")
docker load -qi $image >/dev/null
docker tag "$tag" "$net"
if [ -n "$before" ]; then docker tag "$before" "$tag"; else docker rmi "$tag" >/dev/null; fi
[ "$(docker run --rm --network none "$net" --version)" = "vipd ${tag#*:}" ] || die "the image does not run"
docker network create --subnet "$subnet.0/24" --gateway "$subnet.1" -o com.docker.network.bridge.name="$net" "$net" >/dev/null

configure a 101
configure b 99
pair
pass "a pair as first processes: read-only, all capabilities dropped but six, both healthy"
! docker logs "$net-a" 2>&1 | grep -i 'cannot be set\|missing' || die "vipd misses something in the container"
planned_stop
kill_master
pause_master
crash
health_check
one_namespace
wrong_configuration
drop "$net-a" "$net-b"
companion
docker network rm "$net" >/dev/null
compose_pair
echo "$passed passed, 0 failed"
