#!/usr/bin/env python3
"""`make vm-test`: a pair of appliances boots, and each fault that this knows is done to it.

Prints what the wire showed as it goes, a table at the end, and leaves the consoles in target/vm/*.log.
"""
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from lab import IMAGE, WORK, VM, Wire, bridge, namespaces, wait

ROWS = []


def row(what, saw):
    ROWS.append((what, saw))
    print(f"{time.time() - START:6.1f} s  {what}: {saw}", flush=True)


def ms(seconds):
    return f"{seconds * 1000:.0f} ms"


def boot(vm):
    """From power-on to the first answer, step by step."""
    vm.wait_for("after the kernel's start")
    init = vm.said("after the kernel's start")
    uptime = float(next(line for _, line in vm.lines if "after the kernel's start" in line).split()[1])
    first = wire.first(vm.name, vm.on, seconds=180)
    steps = [("kernel", init - uptime), ("init", init), ("vipd", vm.wait_for("starts on")),
             ("HAProxy started", vm.wait_for("] started")), ("HAProxy ready", vm.wait_for("] ready after")),
             ("master", vm.wait_for("Entering MASTER STATE")), ("first answer", first)]
    row(f"{vm.name}: power-on to the first answer", f"{first - vm.on:.1f} s: " +
        ", ".join(f"{name} {t - vm.on:.1f}" for name, t in steps))


def fails_over(what, old, new, fault, back):
    """A fault that costs the old node the VIP: nobody answers on two, and the new one does. Then `back`."""
    at = time.time()
    fault()
    first = wire.first(new.name, at)
    time.sleep(2)
    last = max(wire.answers(old.name, at - 1))
    advert = max(t for t in wire.answers(old.name, at - 5, ("advert",)) if t < first)
    both = "never" if last < first else "YES"
    row(what, f"{old.name} answers until {ms(last - at)} ({ms(last - advert)} after its last advert), "
        f"{new.name} from {ms(first - at)} ({ms(first - advert)}); both: {both}")
    assert last < first, f"{what}: both nodes answered"
    assert first - at < 8, f"{what}: nobody answered for {first - at} s"
    back()


def stays(what, vm, other, fault, seconds=6):
    """A fault that the node survives as master: the other one never answers."""
    at = time.time()
    fault()
    time.sleep(seconds)
    wait(60, f"{what}: {vm.name} does not answer", lambda: wire.answers(vm.name, time.time() - 1))
    vm.wait_state("MASTER")
    until = time.time()
    _, http = wire.served(at)
    row(what, f"{vm.name} stays master, silent for {ms(wire.silence(at, until - 0.5))} at most; {http}")
    assert not wire.answers(other.name, at), f"{what}: {other.name} took over"


def hands_over(what, old, new, cause):
    """A planned change: the client loses no more than the request that is under way as the address moves."""
    at = time.time()
    cause()
    first = wire.first(new.name, at, seconds=180)
    time.sleep(4)
    bad, http = wire.served(first - 3, first + 3)
    row(what, f"{new.name} answers; longest silence {ms(wire.silence(first - 2, first + 2))}; {http}")
    assert bad <= 1, f"{what}: {bad} requests failed"


def without_nf_tables(vm):
    """An initrd whose nf_tables.ko is empty: kernels unpack one archive after the other."""
    version = (IMAGE / "version").read_text().strip()
    module = f"lib/modules/{version}/kernel/net/netfilter/nf_tables.ko"
    (WORK / module).parent.mkdir(parents=True, exist_ok=True)
    (WORK / module).write_bytes(b"")
    empty = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=WORK, input=module.encode(),
                           stdout=subprocess.PIPE, check=True).stdout
    first = (IMAGE / "initrd").read_bytes()
    vm.put("/initrd", first + b"\0" * (-len(first) % 4) + empty)


def main():
    global wire
    bridge()
    wire = Wire()
    a, b = VM(1, 100), VM(2, 90)

    a.start()
    boot(a)
    lease = a.status()["vrrp"][0]["lease"]
    row("vipd status", f"lease = {lease}, kernel {a.sh('uname -r')}")
    assert lease == "fence"
    used = a.sh("grep -E '^(Pss|Anonymous):' /proc/$(pidof vipd)/smaps_rollup").split()
    row("vipd's memory", f"PSS {used[1]} KiB, anonymous {used[4]} KiB")
    assert int(used[4]) <= 100, "vipd has more than 100 KiB of its own"
    assert "Read-only" in a.sh("touch /etc/x")
    b.start()
    b.wait_state("BACKUP", 180)
    time.sleep(2)

    stays("vipd killed, init starts it again", a, b, lambda: a.sh("killall -9 vipd"))
    stays("HAProxy killed", a, b, lambda: a.sh("killall -9 haproxy"))
    stays("nft flush ruleset", a, b, lambda: a.sh("nft flush ruleset"), 3)
    assert "table inet vipd" in a.sh("nft list tables")

    def fill():
        a.sh("dd if=/dev/zero of=/run/full bs=64k; killall -9 vipd")

    stays("/run full, and vipd killed", a, b, fill)
    a.sh("rm /run/full")

    def no_more():
        a.sh("mount --bind /bin/false /usr/sbin/vipd; killall -9 vipd")

    def again():
        hands_over("vipd is back, preempts", b, a, lambda: a.sh("umount /usr/sbin/vipd"))

    fails_over("vipd killed for good", a, b, no_more, again)
    fails_over("vipd stopped (SIGSTOP)", a, b, lambda: a.sh("killall -STOP vipd"),
               lambda: hands_over("vipd goes on, preempts", b, a, lambda: a.sh("killall -CONT vipd")))
    fails_over("cable cut", a, b, lambda: a.qemu("set_link nic0 off"),
               lambda: hands_over("cable back, preempts", b, a, lambda: a.qemu("set_link nic0 on")))
    fails_over("VM killed", a, b, a.kill, lambda: None)

    a.start(cable=False)
    a.wait_for("Now in FAULT state")
    a.wait_for("] ready after")
    time.sleep(1)
    assert a.state() == "FAULT"
    hands_over("booted without a network card; it appears, preempts", b, a, lambda: a.qemu(a.nic()))
    a.wait_state("MASTER")
    changed = a.sh("config open && echo changed >/config/config/hostname && config close; cat /etc/hostname")
    assert changed == "changed", changed
    assert "Read-only" in a.sh("touch /etc/x")
    hands_over("VM shut down", a, b, lambda: a.sh("poweroff"))
    a.process.wait(30)

    without_nf_tables(a)
    a.start()
    a.wait_state("MASTER", 180)
    lease = a.status()["vrrp"][0]["lease"]
    row("kernel without nf_tables", f"lease = {lease}; " + next(s for _, s in a.lines if "nf_tables:" in s))
    assert lease == "address"
    assert a.sh("hostname") == "changed", "the configuration did not survive"
    fails_over("without nf_tables: VM killed", a, b, a.kill, lambda: None)


namespaces(__file__)
START = time.time()
for old in WORK.glob("node*"):
    old.unlink()
try:
    main()
finally:
    print(f"\n{time.time() - START:.0f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for what, saw in ROWS:
        print(f"| {what} | {saw} |")
