#!/bin/sh
# deps.sh: what the tests and the demo need.
# deps.sh check: what `make check` needs; who cannot install it goes without.
# deps.sh toolchain: Debian's Rust, for a static vipd (see static.sh).
# deps.sh haproxy: what builds a static HAProxy (see haproxy.sh).
# deps.sh image: what `make image` puts together (see image.sh), without HAProxy's build.
# deps.sh vm: what `make vm-test` runs it with.
# Installs what is missing if we are root, says what it installed, and leaves no service behind.
# shellcheck disable=SC2086  # lists of packages are split on purpose
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
die() { echo "$0: $*" >&2; exit 1; }

# Debian: command (or /file) and its package. Commands are looked up, not packages: that takes milliseconds,
# and somebody's own build counts too.
tests='keepalived=keepalived haproxy=haproxy tcpdump=tcpdump ip=iproute2 unshare=util-linux ps=procps nft=nftables
       busybox=busybox-static readelf=binutils strace=strace curl=curl cc=gcc mandoc=mandoc aiosmtpd=python3-aiosmtpd
       /usr/lib/python3/dist-packages/jsonschema=python3-jsonschema
       /usr/lib/python3/dist-packages/prometheus_client=python3-prometheus-client prometheus=prometheus
       runsvdir=runit s6-svscan=s6'
image='busybox=busybox-static nft=nftables cpio=cpio zstd=zstd sfdisk=fdisk mkfs.vfat=dosfstools mcopy=mtools
       syslinux=syslinux /usr/lib/SYSLINUX.EFI=syslinux-efi /usr/lib/syslinux/modules/efi64=syslinux-common'
vm='qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils debugfs=e2fsprogs mcopy=mtools cpio=cpio ip=iproute2
    unshare=util-linux python3=python3'
# Alpine: by package, since busybox answers to `ip`, `ps` and `unshare` as well, but with less in them.
alpine='keepalived haproxy tcpdump iproute2 util-linux procps-ng nftables busybox-static binutils strace curl gcc musl-dev
        mandoc py3-jsonschema py3-prometheus-client'

missing=
look_up() {
    for x in "$@"; do command -v "${x%=*}" >/dev/null || missing="$missing ${x#*=}"; done
}
if [ "${1:-}" = toolchain ]; then
    missing='rustc-web cargo-web rust-web-src musl-dev gcc libc6-dev'
elif [ "${1:-}" = haproxy ]; then
    look_up dpkg-source=dpkg-dev musl-gcc=musl-tools
elif [ "${1:-}" = image ]; then
    look_up $image
elif [ "${1:-}" = vm ]; then
    PATH=$PATH:$PWD/target/qemu # see unpack_qemu
    look_up $vm
elif [ "${1:-}" = check ]; then
    command -v shellcheck >/dev/null || missing=shellcheck
    [ -z "$missing" ] || [ "$(id -u)" = 0 ] || { echo "shellcheck is missing: shell scripts are not checked"; exit 0; }
elif command -v apk >/dev/null; then
    for p in $alpine; do apk info -e "$p" >/dev/null || missing="$missing $p"; done
else
    look_up $tests
fi
missing=${missing# }
[ -n "$missing" ] || exit 0

if command -v apk >/dev/null; then install="apk add $missing"
elif command -v apt-get >/dev/null; then install="apt-get install $missing"
else die "missing: $missing (Debian's names; neither apt-get nor apk is here)"; fi
[ "$(id -u)" = 0 ] || die "not root, cannot install what is missing: $install"

if command -v apk >/dev/null; then
    apk add --quiet --no-progress $missing # starts nothing, enables nothing
    echo "installed: $missing"
    exit 0
fi

# Debian starts services as it installs them, and enables them for the next boot: a keepalived or a haproxy
# with somebody's default configuration on a machine that only wanted to run tests. A policy-rc.d forbids the
# start; ours lives only as long as this script, and one that is there already is left alone.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
cleanup() { rm -f "$log"; [ -z "${ours:-}" ] || rm -f $policy; }
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e $policy ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
# --no-remove: if it takes the removal of anything that is installed, rather fail.
apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-remove --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null >"$log" 2>&1; }
# A qemu-utils of another release (backports) breaks Debian's qemu-system-x86, and what is installed stays:
# the emulator and its libraries are unpacked in target/qemu, with a script that calls it.
unpack_qemu() {
    out=$PWD/target/qemu
    rm -rf "$out" && mkdir -p "$out/deb" "$out/root"
    needs=$(apt-get -s --no-install-recommends install qemu-system-x86 | sed -n 's/^Inst \([^ ]*\).*/\1/p')
    (cd "$out/deb" && apt-get -qq -o APT::Sandbox::User= download $needs) >"$log" 2>&1 || return 1
    for d in "$out"/deb/*.deb; do dpkg-deb -x "$d" "$out/root"; done
    rm -r "$out/deb"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "'$out/root/usr/lib/$(uname -m)-linux-gnu'" \
        "'$out/root/usr/bin/qemu-system-x86_64'" >"$out/qemu-system-x86_64"
    chmod 755 "$out/qemu-system-x86_64"
    echo "unpacked in target/qemu: qemu-system-x86"
}
# Lists may be absent (containers) or older than the mirror (404): fetch them, but only then.
ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt update || :
case " $missing " in *' qemu-system-x86 '*)
    if apt-get -s --no-install-recommends install qemu-system-x86 2>/dev/null | grep -q '^Remv' && unpack_qemu; then
        missing=$(echo " $missing " | sed 's/ qemu-system-x86 / /; s/^ *//; s/ *$//')
        [ -n "$missing" ] || exit 0
    fi ;;
esac
apt install $missing || { apt update && apt install $missing; } || {
    cat "$log" >&2
    goes=$(apt-get -s --no-install-recommends install $missing 2>/dev/null | sed -n 's/^Remv \([^ ]*\).*/\1/p' | paste -sd' ')
    die "failed: $install${goes:+ (in the way, and stays: $goes)}"
}
for s in keepalived haproxy prometheus; do
    case " $missing " in *" $s "*) ;; *) continue ;; esac
    # Only if we have just installed it: then nobody can want it to run, or to start at the next boot.
    invoke-rc.d $s stop >/dev/null 2>&1 || :
    update-rc.d $s disable >/dev/null 2>&1 || :
    if [ -d /run/systemd/system ] && systemctl -q is-active $s; then die "$s.service runs after its installation: stop it"; fi
done
echo "installed: $missing"
