#!/bin/sh
# oci.sh: target/vipd-oci.tar, an image from scratch with vipd and a static HAProxy; no shell, nothing else
# to run. No engine makes it: an OCI layout in a tar, and beside it the manifest.json that
# `docker load` knows. The same source and the same HAProxy give the same bytes.
#   HAPROXY            a static HAProxy of yours (target/haproxy-static/haproxy: see haproxy.sh)
#   CA                 a bundle of CA certificates, for a HAProxy with TLS (none)
#   TARGET             as for static.sh; needs HAPROXY
#   SOURCE_DATE_EPOCH  the time of every file
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022
cd "$(dirname "$0")/.."
die() { echo "$0: $*" >&2; exit 1; }

tar --version 2>/dev/null | grep -q GNU || die "GNU tar is needed"
t=${TARGET:-$(uname -m)}
variant=
case $t in
    x86_64*) arch=amd64 ;;
    aarch64*) arch=arm64 ;;
    armv7*) arch=arm variant=',"variant":"v7"' ;;
    arm*) arch=arm variant=',"variant":"v6"' ;;
    riscv64*) arch=riscv64 ;;
    *) arch=${t%%-*} ;;
esac
haproxy=${HAPROXY:-target/haproxy-static/haproxy}
if [ -z "${HAPROXY:-}" ]; then
    [ "${t%%-*}" = "$(uname -m)" ] || die "no HAProxy for $t: name one with HAPROXY="
    .build/haproxy.sh
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)

work=$(mktemp -d target/.oci.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
pack() { cd "$1" && tar --sort=name --format=ustar --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -cf - -- *; }
hash() { sha256sum "$1" | cut -c-64; }

# The one layer. /run is for a tmpfs, and the programs' users have names.
root=$work/root
mkdir -p "$root/usr/sbin" "$root/etc/haproxy" "$root/run"
install -m 755 target/vipd "$root/usr/sbin/vipd"
install -m 755 "$haproxy" "$root/usr/sbin/haproxy"
echo 'root:x:0:0:root:/:/sbin/nologin
haproxy:x:99:99:haproxy:/:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin' >"$root/etc/passwd"
printf '%s\n' root:x:0: haproxy:x:99: nogroup:x:65534: >"$root/etc/group"
if [ -n "${CA:-}" ]; then install -D -m 644 "$CA" "$root/etc/ssl/certs/ca-certificates.crt"; fi
(pack "$root") >"$work/layer.tar"
layer=$(hash "$work/layer.tar")

blobs=$work/image/blobs/sha256
mkdir -p "$blobs"
# Puts a file among the blobs; prints its descriptor's digest and size.
put() {
    h=$(hash "$1")
    mv "$1" "$blobs/$h"
    echo "\"digest\":\"sha256:$h\",\"size\":$(wc -c <"$blobs/$h")"
}
gzip -9n <"$work/layer.tar" >"$work/layer.gz"
layer_at=$(put "$work/layer.gz")

# Seconds, in nanoseconds as Docker wants them: a hung vipd is unhealthy after 15 to 20 s, a fault as well.
s=000000000
cat >"$work/config" <<X
{"created":"$created","architecture":"$arch"$variant,"os":"linux","config":{
"Entrypoint":["/usr/sbin/vipd"],"Env":["PATH=/usr/sbin"],"WorkingDir":"/","StopSignal":"SIGTERM",
"Healthcheck":{"Test":["CMD","/usr/sbin/vipd","status","--check"],"Interval":5$s,"Timeout":3$s,"StartPeriod":20$s,"Retries":3},
"Labels":{"org.opencontainers.image.title":"vipd","org.opencontainers.image.version":"$version",
"org.opencontainers.image.licenses":"MIT OR Apache-2.0",
"org.opencontainers.image.description":"A floating address for a pair of HAProxy machines"}},
"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},
"history":[{"created":"$created","created_by":"vipd .build/oci.sh"}]}
X
config_at=$(put "$work/config")
oci=application/vnd.oci.image
cat >"$work/manifest" <<X
{"schemaVersion":2,"mediaType":"$oci.manifest.v1+json","config":{"mediaType":"$oci.config.v1+json",$config_at},
"layers":[{"mediaType":"$oci.layer.v1.tar+gzip",$layer_at}]}
X
manifest_at=$(put "$work/manifest")
name() { echo "$1" | sed 's/.*sha256:\([0-9a-f]*\).*/\1/'; }
echo '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"
cat >"$work/image/index.json" <<X
{"schemaVersion":2,"mediaType":"$oci.index.v1+json","manifests":[{"mediaType":"$oci.manifest.v1+json",$manifest_at,
"platform":{"architecture":"$arch"$variant,"os":"linux"},
"annotations":{"io.containerd.image.name":"docker.io/library/vipd:$version","org.opencontainers.image.ref.name":"$version"}}]}
X
echo "[{\"Config\":\"blobs/sha256/$(name "$config_at")\",\"RepoTags\":[\"vipd:$version\"],\
\"Layers\":[\"blobs/sha256/$(name "$layer_at")\"]}]" >"$work/image/manifest.json"

out=target/vipd-oci.tar
(pack "$work/image") >"$work/out"
mv -f "$work/out" $out
size() { wc -c <"$1"; }
echo "$out: vipd:$version for $arch, $(size $out) bytes; unpacked: vipd $(size "$root/usr/sbin/vipd"), HAProxy $(size "$root/usr/sbin/haproxy")${CA:+, CA bundle $(size "$CA")}"
echo "sha256:$(name "$manifest_at")"
