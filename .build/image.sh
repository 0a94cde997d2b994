#!/bin/sh
# image.sh: the appliance in target/image: vmlinuz, initrd (busybox, HAProxy, vipd, nft, rootfs/) and
# disk.img, which boots from BIOS and UEFI and has a folder config/ for the configuration. No root is needed.
# The environment may hold
#   KERNEL         a package of Debian's (linux-image-cloud-amd64), or a directory with boot/vmlinuz-VERSION
#                  and lib/modules/VERSION
#   DRIVERS        modules for its hardware (those of virtual machines and of common routers)
#   HAPROXY        a static HAProxy (see haproxy.sh)
#   BUSYBOX        a static busybox (the one in PATH)
#   INITRD_BUDGET  bytes that the initrd may have (5242880)
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin" MTOOLS_SKIP_CHECK=1 SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"
umask 022
cd "$(dirname "$0")/.."
die() { echo "$0: $*" >&2; exit 1; }
out=target/image
root=$out/root
mkdir -p $out

# Drivers that hardware or a program asks for, where the kernel has them as modules: virtual machines, then
# what routers are made of, then VLANs, vmac and connections that are reset. nf_tables needs a crc32c.
drivers="${DRIVERS:-virtio_pci virtio_net virtio_blk virtio_scsi hv_netvsc hv_storvsc vmxnet3 vmw_pvscsi ena gve
    xen-netfront xen-blkfront sd_mod ata_piix ahci nvme usb-storage uas xhci-pci ehci-pci e1000 e1000e igb igc
    ixgbe r8169 tg3} crc32c_generic crc32c-intel 8021q macvlan tcp_diag"

# The kernel, with its modules.
kernel=${KERNEL:-linux-image-cloud-amd64}
if [ ! -d "$kernel" ]; then
    # A meta package names the real one.
    real=$(apt-cache depends "$kernel" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    kernel=$out/kernel/${real:-$kernel}
    if [ ! -d "$kernel" ]; then
        mkdir -p $out/kernel
        (cd $out/kernel && apt-get -qq -o APT::Sandbox::User= download "${kernel##*/}") ||
            die "no ${kernel##*/}"
        dpkg-deb -x "$kernel"_*.deb "$kernel.new"
        mv "$kernel.new" "$kernel"
        rm "$kernel"_*.deb
    fi
fi
version=$(ls "$kernel/lib/modules")
echo "$version" >$out/version
cp "$kernel/boot/vmlinuz-$version" $out/vmlinuz

.build/haproxy.sh
busybox=${BUSYBOX:-$(command -v busybox)} || die "no busybox"

rm -rf $root
mkdir -p $root/bin $root/sbin $root/usr/bin $root/usr/sbin $root/etc $root/var $root/dev $root/proc \
    $root/sys $root/run $root/root $root/config
(cd $root/etc && mkdir -p network/if-pre-up.d network/if-up.d network/if-down.d network/if-post-down.d)
ln -s /run $root/var/run
ln -s /run/tmp $root/tmp
ln -s /run/resolv.conf $root/etc/resolv.conf
printf 'root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >$root/etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >$root/etc/group
printf 'vipd\n' >$root/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n' >$root/etc/hosts
cp "$busybox" $root/bin/busybox
for a in $("$busybox" --list); do [ "$a" = busybox ] || ln -s busybox "$root/bin/$a"; done
ln -s ../bin/busybox $root/sbin/init
ln -s ../bin/busybox $root/sbin/modprobe # what the kernel calls
cp target/vipd target/haproxy-static/haproxy $root/usr/sbin/
cp init/inittab $root/etc/
(cd rootfs && find . ! -path './usr/share/man/*' ! -path './usr/share/vipd/*' -type f |
    cpio -pdm --quiet "../$root")

# nft, which Debian has for shared libraries only.
nft=$(command -v nft) || die "no nft"
for f in "$nft" $(ldd "$nft" | grep -o '/[^ ]*'); do
    mkdir -p "$root/${f%/*}"
    cp -L "$f" "$root$f"
done

# Modules, with what they depend on. vipd's fence is not left out in silence.
has() { grep -m 1 -E "/$1\.ko[^:]*:" "$kernel/lib/modules/$version/modules.dep"; }
builtin() { grep -q "/$1\.ko" "$kernel/lib/modules/$version/modules.builtin"; }
[ -e "$kernel/lib/modules/$version/modules.dep" ] || "$busybox" depmod -b "$kernel" "$version"
modules=$root/lib/modules/$version
mkdir -p "$modules"
for m in $drivers $(grep -v '^#' rootfs/etc/modules); do
    if files=$(has "$m"); then
        for f in $(echo "$files" | tr -d :); do
            mkdir -p "$modules/${f%/*}"
            cp -u "$kernel/lib/modules/$version/$f" "$modules/$f"
        done
    elif grep -qx "$m" rootfs/etc/modules && ! builtin "$m"; then
        echo "WARNING: this kernel has no $m (rootfs/etc/modules)" >&2
    fi
done
"$busybox" depmod -b $root "$version"

find $root -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd $root && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | zstd -q -19 -f -o $out/initrd
size=$(wc -c <$out/initrd)
budget=${INITRD_BUDGET:-5242880}
[ "$size" -le "$budget" ] || die "the initrd has $size bytes, over the budget of $budget (INITRD_BUDGET; DRIVERS names fewer)"

# One partition, FAT, active, of the type that UEFI looks for. syslinux is on it twice, with the same menu.
disk=$out/disk.img
at=1048576 # where the partition begins
rm -f $disk
truncate -s 64M $disk
echo 'label: dos
label-id: 0x76697064
start=2048, type=ef, bootable' | sfdisk -q $disk
dd if=/usr/lib/SYSLINUX/mbr.bin of=$disk conv=notrunc status=none
mkfs.vfat -F 16 -n VIPD --invariant --offset 2048 $disk $((63 * 1024)) >/dev/null
cat >$out/syslinux.cfg <<X
default vipd
prompt 0
label vipd
    linux /vmlinuz
    initrd /initrd
    append ${CMDLINE:-quiet panic=5 config=VIPD console=tty0 console=ttyS0}
X
mmd -i $disk@@$at ::/config ::/EFI ::/EFI/BOOT
mcopy -i $disk@@$at $out/vmlinuz $out/initrd $out/syslinux.cfg ::
mcopy -i $disk@@$at /usr/lib/syslinux/modules/efi64/ldlinux.e64 ::/EFI/BOOT/
mcopy -i $disk@@$at /usr/lib/SYSLINUX.EFI/efi64/syslinux.efi ::/EFI/BOOT/BOOTX64.EFI
mcopy -i $disk@@$at $out/syslinux.cfg ::/EFI/BOOT/
syslinux --offset $at --install $disk

part() { printf '  %-10s %9d bytes\n' "$1" "$2"; }
echo "target/image: kernel $version"
part vmlinuz "$(wc -c <$out/vmlinuz)"
part initrd "$size"
for f in bin/busybox usr/sbin/haproxy usr/sbin/vipd; do part "  ${f##*/}" "$(wc -c <$root/$f)"; done
part '  nft' "$(find $root/usr/sbin/nft $root/lib/x86_64* $root/lib64 -type f -exec cat {} + | wc -c)"
part '  modules' "$(find $root/lib/modules -name '*.ko*' -exec cat {} + | wc -c)"
part disk.img "$(wc -c <$disk)"
rm -rf $root
