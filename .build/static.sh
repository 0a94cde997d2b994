#!/bin/sh
# Builds target/vipd, a static program, with whatever toolchain this machine has, and proves that it is static.
# `make` calls it; the environment may hold
#   TARGET       triple to build for        (this machine's architecture, with musl)
#   ROUTE        one of the routes below    (the first that is possible)
#   SIZE_BUDGET  bytes that vipd may have   (327680)
#   CC           linker driver and compiler for TARGET (cc)
# Routes, in this order because the first two need no network and the third no download:
#   target   the toolchain has the musl target (rustup's, or a distribution's)
#   alpine   Alpine's own cargo, whose host triple is already musl
#   debian   Debian's rustc-web: no musl std there, so std is compiled along, from rust-web-src. Gives the smallest vipd
#   rustup   `rustup target add`, then as `target`
#   debian   again: its packages are installed first, if we are root
#   glibc    static all the same, but large: the last resort
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."

# RUSTFLAGS in the environment would *replace* the flags given below ("cannot find crtendS.o", or a dynamic vipd);
# MAKEFLAGS would offer cargo a job server that make does not share with it.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS RUSTC_BOOTSTRAP MAKEFLAGS MFLAGS || :

die() { echo "$0: $*" >&2; exit 1; }

machine=$(uname -m)
case $machine in
    armv6*) native=arm-unknown-linux-musleabihf ;;
    armv7* | armv8l) native=armv7-unknown-linux-musleabihf ;;
    i?86) native=i686-unknown-linux-musl ;;
    riscv64) native=riscv64gc-unknown-linux-musl ;;
    *) native=$machine-unknown-linux-musl ;;
esac
t=${TARGET:-$native}
host=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')

# Where Debian's musl-dev for the triple is: /usr/lib/x86_64-linux-musl, /usr/lib/arm-linux-musleabihf ...
case ${t%%-*} in arm*) a=arm ;; i?86) a=i386 ;; riscv64*) a=riscv64 ;; *) a=${t%%-*} ;; esac
musl=/usr/lib/$a-linux-${t##*-}

want() { [ -z "${ROUTE:-}" ] || [ "$ROUTE" = "$1" ]; }

has_target() { d=$(rustc --print target-libdir --target "$t" 2>/dev/null) && ls "$d"/libstd-*.rlib >/dev/null 2>&1; }

is_alpine() { [ "$t" = "$native" ] && case $host in *-alpine-linux-musl*) ;; *) false ;; esac; }

# std's source must be of the compiler's very version: other pairs do not get beyond core.
has_debian() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -e "$musl/rcrt1.o" ] &&
        v=$(cat /usr/lib/rustlib/src/rust/src/version 2>/dev/null) &&
        case $(/usr/bin/rustc -V) in "rustc $v "*) ;; *) false ;; esac
}

can_install() {
    [ "$t" = "$native" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        "$(dirname "$0")/deps.sh" toolchain && has_debian
}

add_target() {
    command -v rustup >/dev/null || return 1
    said=$(RUST_BACKTRACE=0 rustup target add "$t" 2>&1) && has_target && return
    echo "rustup target add $t: $(echo "$said" | grep -m1 ^error | cut -d: -f1,2)" >&2
    return 1
}

# Another machine's program cannot be replaced by one of this machine.
is_glibc() { [ "$t" = "$native" ] && case $host in *-linux-gnu*) ;; *) false ;; esac; }

if want target && has_target; then route=target
elif want alpine && is_alpine; then route=alpine t=$host
elif want debian && has_debian; then route=debian
elif want rustup && add_target; then route=rustup
elif want debian && can_install; then route=debian
elif want glibc && is_glibc; then route=glibc t=$host
else
    die "no ${ROUTE:-way} to build for $t here. One of these brings it:
  rustup target add $t
  apt-get install rustc-web cargo-web rust-web-src musl-dev gcc    (Debian)
  apk add cargo gcc musl-dev                                        (Alpine)"
fi

# Flags go on this one command line, and only with --target: then they reach neither build scripts and procedural
# macros (a static proc-macro cannot be loaded) nor `cargo test` and clippy, which share target/.
# +crt-static is musl's default today, but upstream means to change that.
# No unwind tables: a panic aborts, nothing reads them.
static="'-Ctarget-feature=+crt-static'"
build() { cargo="$1"; shift; "$cargo" build --release --locked --bin vipd --target-dir target --target "$t" "$@"; }
linker() { [ -z "${CC:-}" ] || printf "target.%s.linker='%s'" "$t" "$CC"; }
allowance=0

case $route in
target | alpine | rustup)
    # A precompiled std is compiled for speed and carries its backtrace printer. Measured: 261 KB more for a program
    # with all of vipd's crates, 310 KB for an empty main.
    allowance=327680
    build cargo --config "target.$t.rustflags=[$static,'-Cforce-unwind-tables=no']" ${CC:+--config "$(linker)"}
    ;;
glibc)
    build cargo --config "target.$t.rustflags=[$static]"
    ;;
debian)
    # rustc links *-linux-musl by itself, without musl-gcc (which knows no -static-pie: it leaves a program that asks
    # for a dynamic linker, or one that nobody relocates). It finds crt and libc in any `-L native` directory, so a
    # directory of symbolic links stands in for what rustup's musl target would bring.
    cc=${CC:-cc} out=$PWD/target/musl/$t
    gcc=$(dirname "$($cc -print-libgcc-file-name)")
    mkdir -p "$out"
    ln -sf "$musl"/rcrt1.o "$musl"/crt1.o "$musl"/crti.o "$musl"/crtn.o "$musl"/lib*.a "$gcc"/crtbegin.o \
        "$gcc"/crtbeginS.o "$gcc"/crtend.o "$gcc"/crtendS.o "$out/"
    # std names two unwinder symbols, for backtraces that a stripped program cannot print anyway. glibc's libgcc_eh.a
    # does not fit musl, LLVM's libunwind.a does but adds 37 KB; two functions that say "end of stack" do.
    # (libc.a & Co. are links into musl-dev, libunwind.a must be ours: remove it first, never write through a link.)
    # shellcheck disable=SC3013  # dash, bash and busybox all have -nt
    if [ ! "$out/unwind.o" -nt "$0" ]; then
        printf '%s\n' 'int _Unwind_Backtrace(void *f, void *a) { (void)f; (void)a; return 5; }' \
            'unsigned long _Unwind_GetIP(void *c) { (void)c; return 0; }' |
            $cc -Os -fPIC -fno-asynchronous-unwind-tables -xc -c - -o "$out/unwind.o"
    fi
    rm -f "$out/libunwind.a"
    ar rcsD "$out/libunwind.a" "$out/unwind.o"
    # /usr/bin first: rustup's shims would answer to `rustc` otherwise. RUSTC_BOOTSTRAP: build-std is unstable.
    PATH=/usr/bin:/bin:$PATH RUSTC_BOOTSTRAP=1 build /usr/bin/cargo \
        --config 'unstable.build-std=["std","panic_abort"]' \
        --config 'unstable.build-std-features=["optimize_for_size"]' \
        --config "target.$t.linker='$cc'" \
        --config "target.$t.rustflags=[$static,'-Lnative=$out','-Cforce-unwind-tables=no']"
    ;;
esac

# target/vipd is replaced, never written to: one that runs keeps its file. Untouched if nothing changed.
bin=target/vipd
if ! cmp -s "target/$t/release/vipd" $bin; then
    cp "target/$t/release/vipd" target/.vipd.new
    mv -f target/.vipd.new $bin
fi

# The proof: the program asks for no dynamic linker and no library ...
segments=$(readelf -lW $bin) || die "readelf (binutils) is needed to prove that $bin is static"
case $segments in *INTERP*) die "$bin is not static: it has a PT_INTERP" ;; esac
case $(readelf -dW $bin) in *NEEDED*) die "$bin is not static: it NEEDs libraries" ;; esac
# ... and it runs where there is no other file.
empty=target/.empty
rm -rf $empty
mkdir $empty
trap 'rm -rf $empty' EXIT
cp $bin $empty/
if [ "${t%%-*}" != "${native%%-*}" ] && [ "$t" != "$host" ]; then ran="not run: built for another machine"
elif chroot / true 2>/dev/null; then ran=$(chroot $empty /vipd --version) || die "$bin does not run in an empty chroot"
elif unshare -r chroot / true 2>/dev/null; then
    ran=$(unshare -r chroot $empty /vipd --version) || die "$bin does not run in an empty chroot"
else ran="not run in an empty chroot: neither root nor user namespaces here"
fi
case $ran in not*) ;; *) ran="runs in an empty chroot: $ran" ;; esac
size=$(wc -c <$bin)
echo "$bin: $size bytes, static (no INTERP, no NEEDED); $ran [$route, $t]"

if [ "$route" = glibc ]; then
    echo "WARNING: this is a glibc build: several times as large, and its name look-ups need the glibc of the build machine." >&2
    echo "WARNING: it serves for tests. For a real one: rustup target add $native, or on Debian, as root, make again." >&2
else
    budget=$((${SIZE_BUDGET:-327680} + allowance))
    [ "$size" -le $budget ] || die "$bin has $size bytes, budget $budget (SIZE_BUDGET$( [ $allowance = 0 ] || echo " + $allowance for a precompiled std"))"
fi
