#!/bin/sh
# Builds target/vipd, a small static program, with whatever toolchain this machine has, and proves that it is
# static. `make` calls it; the environment may hold
#   TARGET       triple to build for        (this machine's architecture, with musl)
#   ROUTE        one of the routes below    (the first that is possible)
#   SIZE_BUDGET  bytes that vipd may have   (602112)
#   CC           linker driver and compiler for TARGET (cc; for another processor rustup's own linker)
# Four routes compile std along with vipd, for size: that is worth 300 KB, and the budget holds for them.
#   rustup   rustup's toolchain with its rust-src and its musl target
#   zig      the same for a processor whose musl target rustup does not have: zig (pip install ziglang) brings
#            the linker and musl. For mips, where rustup has none, and wherever it cannot be fetched.
#   alpine   Alpine's own cargo, whose host triple is musl already; small if the package rust-src is there
#   debian   Debian's rustc-web with rust-web-src and musl-dev
# Whatever of this is here is taken as it is, without a look at the network. If nothing is, the missing parts
# are fetched: by `rustup component add` and `rustup target add`, or, if that fails and we are root, by
# apt-get. Two more make a large program, and say so:
#   target   the toolchain has the musl target, but std's source is not to be had
#   glibc    static all the same, and larger still: the last resort
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."

# RUSTFLAGS in the environment would *replace* the flags given below ("cannot find crtendS.o", or a dynamic
# vipd); MAKEFLAGS would offer cargo a job server that make does not share with it.
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
sysroot=$(rustc --print sysroot 2>/dev/null || :)

# Where Debian's musl-dev for the triple is: /usr/lib/x86_64-linux-musl, /usr/lib/arm-linux-musleabihf ...
case ${t%%-*} in arm*) a=arm ;; i?86) a=i386 ;; riscv64*) a=riscv64 ;; *) a=${t%%-*} ;; esac
musl=/usr/lib/$a-linux-${t##*-}

want() { [ -z "${ROUTE:-}" ] || [ "$ROUTE" = "$1" ]; }

has_std() { ls "$sysroot/lib/rustlib/$t/lib"/libstd-*.rlib >/dev/null 2>&1; }
has_src() { [ -e "$sysroot/lib/rustlib/src/rust/library/std/Cargo.toml" ]; }

# Zig's name of the target, and a linker driver of one word.
has_zig() {
    zig=$(command -v zig) || zig=$(python3 -c 'import ziglang, os; print(os.path.dirname(ziglang.__file__) + "/zig")' 2>/dev/null) ||
        return 1
    abi=${t##*-}
    case ${t%%-*} in arm*) z=arm-linux-$abi ;; mips*) z=${t%%-*}-linux-${abi}eabi ;; i?86) z=x86-linux-$abi ;; *) z=$a-linux-$abi ;; esac
}

is_alpine() { [ "$t" = "$native" ] && case $host in *-alpine-linux-musl*) ;; *) false ;; esac; }

# Another machine's program cannot be replaced by one of this machine.
is_glibc() { [ "$t" = "$native" ] && case $host in *-linux-gnu*) ;; *) false ;; esac; }

# std's source must be of the compiler's very version: other pairs do not get beyond core.
has_debian() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -e "$musl/rcrt1.o" ] &&
        v=$(cat /usr/lib/rustlib/src/rust/src/version 2>/dev/null) &&
        case $(/usr/bin/rustc -V) in "rustc $v "*) ;; *) false ;; esac
}

add_rustup() {
    command -v rustup >/dev/null &&
        { has_std || rustup_add target "$t"; } && { has_src || rustup_add component rust-src; } && has_std && has_src
}

rustup_add() {
    echo "rustup $1 add $2"
    said=$(RUST_BACKTRACE=0 rustup "$1" add "$2" 2>&1) && return
    echo "$said" | grep -m1 '^error' | cut -c-200 >&2
    return 1
}

add_debian() {
    [ "$t" = "$native" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        .build/deps.sh toolchain && has_debian
}

large= # why, if it will be
if want rustup && has_std && has_src; then route=rustup
elif want alpine && is_alpine; then route=alpine t=$host
elif want debian && has_debian; then route=debian
elif want zig && has_src && has_zig; then route=zig
elif want rustup && add_rustup; then route=rustup
elif want debian && add_debian; then route=debian
elif want target && has_std; then route=target
elif want glibc && is_glibc; then route=glibc t=$host
else
    die "no ${ROUTE:-way} to build for $t here. One of these brings it:
  rustup target add $t && rustup component add rust-src
  apt-get install rustc-web cargo-web rust-web-src musl-dev gcc    (Debian)
  apk add cargo rust-src gcc musl-dev                               (Alpine)"
fi

# Flags go on this one command line, and only with --target: then they reach neither build scripts and
# procedural macros (a static proc-macro cannot be loaded) nor `cargo test` and clippy. A directory of its own
# below target/: then neither waits for the other's lock.
# +crt-static is musl's default today, but upstream means to change that.
# No unwind tables: a panic aborts, nothing reads them. Relative relocations packed (musl 1.2.4): 20 KB. No
# pages between code and constants: 4 KB.
pack="'-Clink-arg=-Wl,-z,pack-relative-relocs'"
link="'-Clink-arg=-Wl,-z,noseparate-code,--build-id=none',"
# 64-bit time on 32-bit processors: musl has it since 1.2, and the libc crate if it is told.
time=
case ${t%%-*} in arm* | mips | mipsel | i?86 | powerpc) time=",'--cfg=libc_unstable_musl_v1_2'" ;; esac
build() {
    # shellcheck disable=SC2086  # SMALL is a word or nothing
    "$cargo" build --release --locked ${SMALL:+--no-default-features} --bin vipd --target-dir target/static --target "$t" \
        --config "target.$t.linker='$cc'" \
        --config "target.$t.rustflags=[${small-}'-Ctarget-feature=+crt-static','-Cforce-unwind-tables=no','-Lnative=$lib',
            $link$lld$pack$time]" "$@"
}

# LLVM's linker, which rustup brings along: it keeps functions that are alike once, and leaves no page empty
# before what becomes read-only: 5 KB.
lld=
find_lld() {
    for with in "-B$sysroot/lib/rustlib/$host/bin/gcc-ld" -fuse-ld=lld; do
        if echo 'int main(void) { return 0; }' |
            $cc "$with" -fuse-ld=lld -Wl,--icf=all,-e,main -nostdlib -xc - -o "$lib/lld" 2>/dev/null; then
            lld="'-Clink-arg=$with','-Clink-arg=-fuse-ld=lld','-Clink-arg=-Wl,--icf=all',"
            return
        fi
    done
}

knows() { echo | RUSTC_BOOTSTRAP=1 "${rustc:-rustc}" "$@" --print cfg >/dev/null 2>&1; }

# std is compiled along. That is unstable, hence RUSTC_BOOTSTRAP, which nothing else gets to see.
# A panic aborts at once, without Rust's message, where the compiler knows how (1.91): 57 KB. See
# src/sys/crash.rs. Where LLVM knows how (22): blocks in the order of the shortest jumps, 4 KB; no function
# with a large frame within another, whose offsets it would make long, 2 KB; a jump table only where it is
# shorter than comparing, 1 KB; sequences of instructions that are there often as functions, 6 KB; no load on
# both sides of a branch in place of one behind it, equal ends of branches once, a call cheaper than what it
# would be replaced by, 2 KB. Functions and data of which the linker knows the place are reached without the
# table of places, 1.6 KB.
build_small() {
    small=
    if knows -Zunstable-options -Cpanic=immediate-abort; then
        small="'-Zunstable-options','-Cpanic=immediate-abort',"
    fi
    if knows -Zplt=yes -Zrelax-elf-relocations=yes; then small="$small'-Zplt=yes','-Zrelax-elf-relocations=yes',"; fi
    shape='-apply-ext-tsp-for-size -inline-max-stacksize=256 -min-jump-table-entries=9'
    shape="$shape -enable-machine-outliner=always -enable-pre=false -enable-load-pre=false"
    shape="$shape -tail-merge-size=2 -tail-merge-threshold=2000 -inline-instr-cost=4"
    if knows "-Cllvm-args=$shape"; then small="$small'-Cllvm-args=$shape',"; fi
    # Not where the linker is another one already.
    case $route in rustup | debian | alpine) [ "$cc" = rust-lld ] || find_lld ;; esac
    RUSTC_BOOTSTRAP=1 build --config 'unstable.build-std=["std","panic_abort"]' \
        --config 'unstable.build-std-features=["optimize_for_size"]'
}

# std names two unwinder symbols, for backtraces that a stripped program cannot print anyway. glibc's
# libgcc_eh.a does not fit musl, LLVM's libunwind.a does but adds 37 KB; two functions that say "end of stack"
# do.
stub_unwinder() {
    # shellcheck disable=SC3013  # dash, bash and busybox all have -nt
    if [ ! "$lib/unwind.o" -nt .build/static.sh ]; then
        printf '%s\n' 'int _Unwind_Backtrace(void *f, void *a) { (void)f; (void)a; return 5; }' \
            'unsigned long _Unwind_GetIP(void *c) { (void)c; return 0; }' |
            $cc -Os -fPIC -fno-asynchronous-unwind-tables -xc -c - -o "$lib/unwind.o"
    fi
    rm -f "$lib/libunwind.a" # never write through a link
    ar rcsD "$lib/libunwind.a" "$lib/unwind.o"
}

cargo=cargo cc=${CC:-cc}
# rustc looks for objects and libraries in `-L native` directories before it takes its own.
lib=$PWD/target/static/lib/$route-$t
mkdir -p "$lib"

foreign() { [ "${t%%-*}" != "${native%%-*}" ]; }

case $route in
rustup)
    # crt, libc and an unwinder, of which nothing is linked, come with the musl target; the linker with rustc.
    if foreign && [ -z "${CC:-}" ]; then
        cc=rust-lld
        link="'-Clinker-flavor=ld.lld','-Clink-self-contained=yes','-Clink-arg=-znoseparate-code','-Clink-arg=--build-id=none',"
        pack="'-Clink-arg=-zpack-relative-relocs'"
    else
        stub_unwinder
    fi
    build_small
    ;;
zig)
    printf '#!/bin/sh\nexec "%s" cc -target %s "$@"\n' "$zig" "$z" >"$lib/cc"
    chmod 755 "$lib/cc"
    cc=$lib/cc link="'-Clink-self-contained=no'," pack="'-Crelocation-model=static'"
    build_small
    ;;
debian)
    # rustc links *-linux-musl by itself, without musl-gcc (which knows no -static-pie: it leaves a program
    # that asks for a dynamic linker, or one that nobody relocates). A directory of symbolic links stands in
    # for what rustup's musl target would bring.
    gcc=$(dirname "$($cc -print-libgcc-file-name)")
    ln -sf "$musl"/rcrt1.o "$musl"/crt[1in].o "$musl"/lib*.a "$gcc"/crtbegin.o "$gcc"/crtbeginS.o "$gcc"/crtend.o \
        "$gcc"/crtendS.o "$lib/"
    stub_unwinder
    # /usr/bin first: rustup's shims would answer to `rustc` otherwise.
    cargo=/usr/bin/cargo rustc=/usr/bin/rustc PATH=/usr/bin:/bin:$PATH
    pack= # Debian 12's musl (1.2.3) cannot unpack relocations
    build_small
    ;;
alpine)
    # No stub here: Alpine's std asks for gcc_eh, which fits its musl.
    if ! has_src; then
        large='std is precompiled, for speed. For a small one: apk add rust-src'
        build
    elif ! build_small; then
        large='std did not compile for size (see above), so the precompiled one is in it'
        build
    fi
    ;;
target)
    large="std is precompiled, for speed. For a small one: rustup component add rust-src, or on Debian, as root, make again"
    build
    ;;
glibc)
    large="this is glibc, whose name look-ups need the glibc of the build machine: it serves for tests. For a real one:
WARNING: rustup target add $native && rustup component add rust-src, or on Debian, as root, make again"
    pack=
    build
    ;;
esac

# target/vipd is replaced, never written to: one that runs keeps its file. Untouched if nothing changed.
bin=${BIN:-target/vipd}
if ! cmp -s "target/static/$t/release/vipd" "$bin"; then
    cp "target/static/$t/release/vipd" "$bin.new"
    mv -f "$bin.new" "$bin"
fi
# `make install` compares it with the sources, as cargo does.
touch -r "target/static/$t/release/vipd" "$bin"

# The proof: the program asks for no dynamic linker and no library ...
segments=$(readelf -lW "$bin") || die "readelf (binutils) is needed to prove that $bin is static"
case $segments in *INTERP*) die "$bin is not static: it has a PT_INTERP" ;; esac
case $(readelf -dW "$bin") in *NEEDED*) die "$bin is not static: it NEEDs libraries" ;; esac
# ... and it runs where there is no other file.
empty=target/.empty
rm -rf $empty
mkdir $empty
trap 'rm -rf $empty' EXIT
cp "$bin" $empty/vipd
if foreign && [ "$t" != "$host" ]; then
    ran="not run: built for another machine"
    if q=$(command -v "qemu-$a-static"); then
        ran=$("$q" "$bin" --version) || die "$bin does not run in $q"
        ran="not run but by ${q##*/}: $ran"
    fi
elif chroot / true 2>/dev/null; then ran=$(chroot $empty /vipd --version) || die "$bin does not run in an empty chroot"
elif unshare -r chroot / true 2>/dev/null; then
    ran=$(unshare -r chroot $empty /vipd --version) || die "$bin does not run in an empty chroot"
else ran="not run in an empty chroot: neither root nor user namespaces here"
fi
case $ran in not*) ;; *) ran="runs in an empty chroot: $ran" ;; esac
size=$(wc -c <"$bin")
echo "$bin: $size bytes, static (no INTERP, no NEEDED); $ran [$route, $t]"

budget=${SIZE_BUDGET:-602112}
over=
[ "$size" -le "$budget" ] || over=", over the budget of $budget bytes (SIZE_BUDGET)"
if [ -n "$large" ]; then echo "WARNING: larger than it need be$over: $large" >&2
elif [ -n "$over" ]; then die "$bin has $size bytes$over"
fi
