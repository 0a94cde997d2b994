#!/usr/bin/env python3
"""`make apk`: a real Alpine with OpenRC makes the package of target/apk/root, and lives with it.

What was done and what came of it is in target/vm/alpine-session.log, the console in target/vm/alpine.log.
"""
import pathlib
import subprocess
import sys
import time
import zipfile

sys.dont_write_bytecode = True
from lab import TOP, VIP, WORK, Machine, namespaces, wait

WHEEL = TOP / "target/alpine"
APK = TOP / "target/apk"
ADD = "apk add --no-progress --no-network --allow-untrusted"
HAPROXY = TOP / "target/haproxy-static/haproxy"


class Alpine(Machine):
    def __init__(self):
        super().__init__("alpine")
        self.session = open(WORK / "alpine-session.log", "w", encoding="utf-8")
        with zipfile.ZipFile(next(WHEEL.glob("*.whl"))) as wheel:
            for name in wheel.namelist():
                if "/images/alpine-" in name:
                    (WORK / f"alpine{pathlib.Path(name).suffix}").write_bytes(wheel.read(name))
        subprocess.run(["qemu-img", "convert", "-O", "raw", WORK / "alpine.qcow2", self.disk], check=True)
        inittab = self.debugfs("cat /etc/inittab").decode() + self.SHELL
        (WORK / "inittab").write_text(inittab)
        root = WORK / "root.tar"
        subprocess.run(["tar", "-C", APK, "--owner=0", "--group=0", "-cf", root, "root", "mkpkg"], check=True)
        # The image's own agent waits for a host that is not here.
        for command in ("rm /etc/inittab", f"write {WORK}/inittab /etc/inittab",
                        "rm /etc/runlevels/boot/quicksand-guest-agent",
                        f"write {root} /root/root.tar", f"write {HAPROXY} /usr/sbin/haproxy"):
            self.debugfs(command)

    def debugfs(self, command):
        return subprocess.run(["debugfs", "-w", "-R", command, self.disk], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True).stdout

    def start(self):
        self.power_on("-m", "256", "-kernel", WORK / "alpine.kernel", "-initrd", WORK / "alpine.initrd",
                      "-append", "console=ttyS0 root=/dev/vda rootfstype=ext4 "
                      "modules=ext4,virtio_pci,virtio_blk quiet rw",
                      "-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,romfile=")

    def do(self, command, status=0, says=""):
        """Runs a command that must end like this, and writes both down."""
        got, text = self.run(command, 120)
        print(f"{time.time() - self.on:7.1f} s $ {command}\n{text}\n[{got}]\n", file=self.session, flush=True)
        assert got == status or status is None, f"{command}: {got}\n{text}"
        assert says in text, f"{command}: no {says!r} in\n{text}"
        return text

    def master(self):
        wait(60, "not MASTER", lambda: "MASTER" in self.run("vipd status")[1], 0.5)
        wait(30, "no answer for the VIP", lambda: self.run(f"wget -qO- -T 2 http://{VIP}:5000/")[0] == 0, 0.5)


def service(vm):
    """Start, reload, respawn, restart, an error in the configuration, stop."""
    vm.do("rc-update add vipd default")
    vm.do("rc-service vipd checkconfig")
    vm.do("rc-service vipd start")
    vm.master()
    vm.do("rc-service vipd status", says="started")
    vm.do("vipd status --json", status=None, says='"lease":"fence"')
    vm.do("grep -E '^(Pss|Anonymous):' /proc/$(pidof vipd)/smaps_rollup")

    before = vm.run("pidof vipd")[1]
    vm.do("kill -9 $(pidof vipd)")
    wait(30, "vipd is not started again", lambda: vm.run("pidof vipd")[1] not in ("", before), 0.2)
    vm.master()
    vm.do("grep 'vipd\\[' /var/log/messages", says="already runs: taking it over")
    vm.do("ip addr show dev eth0", says=VIP)

    vm.do("sed -i 's/^priority = .*/priority = 120/' /etc/vipd.ini")
    vm.do("rc-service vipd reload", says="priority")
    vm.do("rc-service vipd restart")
    vm.master()

    running = vm.run("pidof vipd")[1]
    vm.do("echo nonsense = 1 >>/etc/vipd.ini; rc-service vipd restart", status=1, says="nonsense")
    vm.do("rc-service vipd reload", status=None, says="nonsense")
    assert vm.run("pidof vipd")[1] == running, "an error in the configuration stopped what ran"
    vm.do("sed -i '/^nonsense/d' /etc/vipd.ini; rc-service vipd stop")
    vm.do("pidof vipd haproxy", status=1)
    vm.do(f"ip addr show dev eth0 | grep {VIP}", status=1)
    vm.do("echo nonsense = 1 >>/etc/vipd.ini; rc-service vipd start", status=1, says="nonsense")
    vm.do("sed -i '/^nonsense/d' /etc/vipd.ini; rc-service vipd start")
    vm.master()


def main():
    vm = Alpine()
    vm.start()
    vm.do("cat /etc/alpine-release; uname -r; apk --version; rc-status")
    vm.do("mount -o remount,rw /")
    vm.do("cd /root && tar xf root.tar && chmod 755 /usr/sbin/haproxy && sh -e mkpkg && ls -l *.apk")
    first, second = vm.run("echo *.apk")[1].split()
    vm.do(f"apk verify --allow-untrusted {first}", status=None)
    vm.do(f"{ADD} ./{first}")
    vm.do("apk info -L vipd", says="etc/init.d/vipd")
    vm.do("mkdir -p /etc/haproxy && cp /usr/share/vipd/haproxy.cfg /etc/haproxy/haproxy.cfg")
    vm.do("sed -i 's/^binary =/start_timeout = 60\\nrestart_grace = 10\\nbinary =/' /etc/vipd.ini")
    vm.do("ip link set eth0 up; ip addr add 192.168.30.1/24 dev eth0")
    vm.do("vipd -t", status=None)
    service(vm)

    running = vm.run("pidof vipd")[1]
    vm.do(f"{ADD} ./{second}", says="Upgrading vipd")
    vm.do("grep '^priority = 120' /etc/vipd.ini; ls -l /etc/vipd.ini*")
    assert vm.run("pidof vipd")[1] == running, "the upgrade touched what runs"
    vm.do("rc-service vipd restart")
    vm.master()
    vm.do("rc-service vipd stop; apk del --no-progress --no-network vipd")
    vm.do("pidof vipd haproxy", status=1)
    vm.do("ls /usr/sbin/vipd /etc/init.d/vipd", status=1)
    vm.do(f"{ADD} ./{second}; rc-service vipd start")
    vm.master()
    vm.do("poweroff")
    vm.process.wait(180)
    assert vm.said("Stopping vipd"), "OpenRC did not stop vipd at the shutdown"
    for name in (first, second):
        vm.debugfs(f"dump /root/{name} {APK}/{name}")
    print("Alpine made, installed, ran, upgraded and removed the package: target/vm/alpine-session.log")


namespaces(__file__)
main()
