#!/bin/sh
# haproxy.sh: builds target/haproxy-static/haproxy, a static HAProxy for images, from the source of Debian's
# package: 2 min, nothing if it is there. It has no TLS, Lua or PCRE: it serves the test images.
# Needs the network, dpkg-dev and musl-tools (installed if we are root); /etc/apt stays as it is.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."
die() { echo "$0: $*" >&2; exit 1; }

out=$PWD/target/haproxy-static
mkdir -p "$out"

# The proof: no dynamic linker, no library, and it answers where there is no other file.
prove() {
    segments=$(readelf -lW "$1") || die "readelf (binutils) cannot read $1"
    case $segments in *INTERP*) die "$1 is not static: it has a PT_INTERP" ;; esac
    case $(readelf -dW "$1") in *NEEDED*) die "$1 is not static: it NEEDs libraries" ;; esac
}

if [ -x "$out/haproxy" ]; then exit 0; fi

.build/deps.sh haproxy
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The places that apt has its packages from, as places of sources, in lists of our own. Without the security
# archive, which does not keep the sources of all its versions.
mkdir -p "$work/lists/partial" "$work/src"
# shellcheck disable=SC2016  # apt's variables, not the shell's
apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT) #$(LABEL)' 'Created-By: Packages' |
    sed -n 's/ #Debian$//p' | sort -u >"$work/sources.list"
apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root "$@" >>"$work/log" 2>&1 ||
        { tail -n 5 "$work/log" >&2; die "cannot fetch the source of haproxy"; }
}
apt update
(cd "$work/src" && apt source --download-only haproxy)
dpkg-source -x "$work"/src/*.dsc "$work/haproxy" >>"$work/log" 2>&1 || { cat "$work/log" >&2; die "cannot unpack"; }

# musl-gcc knows musl's headers only, and HAProxy wants those of the kernel behind them. A relative path,
# because HAProxy keeps its compiler flags in the program.
mkdir "$work/kernel"
ln -s /usr/include/linux /usr/include/asm-generic /usr/include/mtd "$work/kernel/"
ln -s "/usr/include/$(gcc -print-multiarch)/asm" "$work/kernel/asm"
echo "building HAProxy $(sed -n 1p "$work/haproxy/VERSION") from Debian's source: 2 min"
make -C "$work/haproxy" -j"$(nproc)" TARGET=linux-musl CC=musl-gcc DEBUG_CFLAGS= LDFLAGS='-static -s' \
    CPU_CFLAGS='-Os -idirafter ../kernel' \
    USE_OPENSSL= USE_PCRE= USE_PCRE2= USE_LUA= USE_ZLIB= USE_SLZ=1 USE_CRYPT_H=1 USE_LIBCRYPT= USE_PROMEX= \
    USE_BACKTRACE= haproxy >>"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; die "HAProxy did not build"; }
prove "$work/haproxy/haproxy"
mv -f "$work/haproxy/haproxy" "$out/haproxy"
echo "$out/haproxy: $(wc -c <"$out/haproxy") bytes, static"
