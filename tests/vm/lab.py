"""Two appliances on a bridge in a network namespace of their own, and who answers for the VIP, from the wire.

The namespaces (network and processes) belong to the test process: when it ends, however, everything in them
ends. Nothing uses KVM: what takes long under emulation is the same on every machine.
"""
import json
import os
import pathlib
import select
import socket
import struct
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
IMAGE = TOP / "target/image"
WORK = TOP / "target/vm"
VIP, PORT, HOST = "192.168.30.230", 5000, "192.168.30.254"
os.environ["PATH"] += f":{TOP}/target/qemu"  # where .build/deps.sh unpacks one that it cannot install
PARTITION = "@@1048576"  # where the FAT partition of disk.img begins, for mtools


def namespaces(program):
    """Starts the program again as root of network and process namespaces of its own: nothing outlives it."""
    if len(sys.argv) > 1:
        return
    WORK.mkdir(parents=True, exist_ok=True)
    user = [] if os.geteuid() == 0 else ["-r"]
    own = ["unshare", *user, "-n", "-m", "-p", "-f", "--kill-child"]
    os.execvp(own[0], [*own, sys.executable, program, "inside"])


def run(*command):
    subprocess.run([str(c) for c in command], check=True)


def bridge():
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "br0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
    run("ip", "addr", "add", f"{HOST}/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")


class Machine:
    """A virtual machine with its console in target/vm/NAME.log and a shell for the test on its second serial
    line."""

    SHELL = ("ttyS1::respawn:/bin/sh -c 'stty raw -echo; echo ready; "
             "while read -r line; do eval \"$line\"; done'\n")

    def __init__(self, name):
        self.name, self.disk = name, WORK / f"{name}.img"
        self.lines, self.process, self.control, self.monitor, self.ready = [], None, None, None, False
        (WORK / f"{name}.log").unlink(missing_ok=True)

    def power_on(self, *options):
        control, monitor = WORK / f"{self.name}.sh", WORK / f"{self.name}.monitor"
        self.lines = []
        self.on = time.time()
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-accel", "tcg",
             "-machine", "pc", "-serial", "stdio", "-serial", f"unix:{control},server=on,wait=off",
             "-monitor", f"unix:{monitor},server=on,wait=off",
             "-drive", f"file={self.disk},format=raw,if=virtio", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(WORK / "qemu.log", "a"))
        threading.Thread(target=self.read, args=(self.process.stdout, self.lines), daemon=True).start()
        self.control, self.monitor, self.ready = self.connect(control), self.connect(monitor), False

    @staticmethod
    def connect(path):
        s = socket.socket(socket.AF_UNIX)
        wait(10, f"no {path}", lambda: path.exists() and s.connect_ex(str(path)) == 0)
        return s

    def read(self, console, lines):
        """Each line of the console with the time at which it came."""
        with open(WORK / f"{self.name}.log", "a", encoding="utf-8") as log:
            for line in console:
                text = line.decode(errors="replace").strip()
                lines.append((time.time(), text))
                print(f"{time.time() - self.on:8.3f} {text}", file=log, flush=True)

    def said(self, text):
        """When the console said this, or None."""
        return next((t for t, line in list(self.lines) if text in line), None)

    def wait_for(self, text, seconds=180):
        return wait(seconds, f"{self.name} does not say {text!r}", lambda: self.said(text))

    def qemu(self, command):
        self.monitor.sendall(command.encode() + b"\n")

    def sh(self, command, seconds=60):
        """Runs a command in the machine and returns what it wrote."""
        return self.run(command, seconds)[1]

    def run(self, command, seconds=60):
        """The same with its exit status."""
        if not self.ready:  # what is sent before that is lost
            self.hear(500, lambda said: said.endswith(b"ready\n"))
            self.ready = True
        self.control.sendall(f"{{ {command}; }} 2>&1; echo \"=== $?\"\n".encode())
        said = self.hear(seconds, lambda said: b"=== " in said and said.endswith(b"\n"))
        text, _, status = said.decode(errors="replace").rpartition("=== ")
        return int(status), text.strip()

    def hear(self, seconds, complete):
        said, end = b"", time.time() + seconds
        while not complete(said):
            ready, _, _ = select.select([self.control], [], [], max(0, end - time.time()))
            assert ready, f"{self.name}: no answer from its shell, only {said!r}"
            said += self.control.recv(65536)
        return said

    def kill(self):
        self.process.kill()
        self.process.wait()


class VM(Machine):
    """One appliance: a copy of disk.img with a configuration of its own."""

    def __init__(self, number, priority):
        super().__init__(f"node{number}")
        self.number, self.tap = number, f"tap{number}"
        run("ip", "tuntap", "add", self.tap, "mode", "tap")
        run("ip", "link", "set", self.tap, "master", "br0", "up")
        run("cp", "--sparse=always", IMAGE / "disk.img", self.disk)
        ini = (TOP / "rootfs/etc/vipd.ini").read_text()
        ini = ini.replace("router_id = node1", f"router_id = {self.name}")
        ini = ini.replace("\npriority = 100", f"\npriority = {priority}")
        # An emulated machine on a busy one is slow; that is not the subject.
        ini = ini.replace("\nbinary =", "\nstart_timeout = 60\nrestart_grace = 10\nbinary =")
        self.config("vipd.ini", ini)
        self.config("hostname", self.name + "\n")
        self.config("inittab", (TOP / "init/inittab").read_text() + self.SHELL)
        self.config("network/interfaces", "auto eth0\niface eth0 inet static\n"
                    f"    address 192.168.30.{number}\n    netmask 255.255.255.0\n")

    def config(self, name, text):
        self.put("/config/" + name, text.encode())

    def put(self, name, data):
        folder = os.path.dirname(name)
        if folder not in ("", "/", "/config"):
            run("mmd", "-D", "s", "-i", f"{self.disk}{PARTITION}", "::" + folder)
        subprocess.run(["mcopy", "-o", "-i", f"{self.disk}{PARTITION}", "-", "::" + name], input=data,
                       check=True)

    def start(self, cable=True):
        """Power on, without a network card if there is no cable."""
        nic = ["-device", self.nic().replace("device_add ", "")] if cable else []
        self.power_on("-m", "128", "-netdev", f"tap,id=n0,ifname={self.tap},script=no,downscript=no", *nic)

    def nic(self):
        return f"device_add virtio-net-pci,netdev=n0,id=nic0,romfile=,mac=52:54:00:00:00:0{self.number}"

    def status(self):
        try:
            return json.loads(self.sh("vipd status --json"))
        except ValueError:
            return None  # vipd does not run

    def state(self):
        status = self.status()
        return status and status["vrrp"][0]["state"]

    def wait_state(self, state, seconds=120):
        return wait(seconds, f"{self.name} is not {state}", lambda: self.state() == state, 0.3)


def wait(seconds, what, condition, pause=0.02):
    end = time.time() + seconds
    while time.time() < end:
        if value := condition():
            return value
        time.sleep(pause)
    raise AssertionError(f"{what} within {seconds} s")


class Wire:
    """Everything that the VMs send, seen where their cables end: (time, VM, kind)."""

    def __init__(self):
        self.seen, self.http = [], []
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS: the kernel's time, not that of the reader
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        for task in (lambda: self.listen(s), self.ping, self.ask):
            threading.Thread(target=task, daemon=True).start()

    def listen(self, s):
        vip = socket.inet_aton(VIP)
        while True:
            frame, extra, _, sender = s.recvmsg(2048, 64)
            if not sender[0].startswith("tap") or sender[2] == socket.PACKET_OUTGOING:
                continue
            seconds, nanos = struct.unpack("qq", extra[0][2])
            kind = self.kind(frame, vip)
            if kind:
                self.seen.append((seconds + nanos / 1e9, "node" + sender[0][3:], kind))

    @staticmethod
    def kind(f, vip):
        if f[12:14] == b"\x08\x06":
            return "announces" if f[28:32] == vip else None
        if f[12:14] != b"\x08\x00":
            return None
        if f[23] == 112:
            return "advert"
        return "answer" if f[26:30] == vip else None

    @staticmethod
    def ping():
        """An echo request every 10 ms."""
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        while True:
            try:
                s.sendto(b"\x08\0\xf7\xff\0\0\0\0", (VIP, 0))
            except OSError:
                pass  # nobody has the address
            time.sleep(0.01)

    def ask(self):
        """An HTTP request every 50 ms, each with a connection of its own."""
        while True:
            start, body = time.time(), None
            try:
                with socket.create_connection((VIP, PORT), 1) as s:
                    s.settimeout(3)
                    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    said = b""
                    while part := s.recv(4096):
                        said += part
                    body = said.rpartition(b"\r\n\r\n")[2].decode().strip() or None
            except OSError:
                pass
            self.http.append((start, time.time(), body))
            time.sleep(0.05)

    def answers(self, name, since=0.0, kinds=("answer",)):
        return [t for t, who, kind in list(self.seen) if who == name and kind in kinds and t >= since]

    def first(self, name, since, kinds=("answer",), seconds=60):
        return wait(seconds, f"{name}: no {kinds} on the wire", lambda: self.answers(name, since, kinds))[0]

    def served(self, since, until=float("inf")):
        """Requests that began within this time and have ended: how many failed, and words on all of them."""
        done = [(end - start, body) for start, end, body in list(self.http) if since <= start < until]
        good = [took for took, body in done if body]
        bad = len(done) - len(good)
        return bad, f"HTTP: {len(good)} answered (slowest {max(good) * 1000:.0f} ms), {bad} failed"

    def silence(self, since, until):
        """The longest time without an answer for the VIP."""
        answers = [t for t, _, kind in list(self.seen) if kind == "answer" and since <= t <= until]
        times = [since, *answers, until]
        return max(b - a for a, b in zip(times, times[1:]))
