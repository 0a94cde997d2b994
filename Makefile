# vipd: `make` builds it, `make help` says what else there is.

# What can be said on the command line (make TARGET=aarch64-unknown-linux-musl ...):
# TARGET, ROUTE, CC: see .build/static.sh, which chooses the toolchain; empty means what this machine has.
export TARGET ROUTE
# SMALL=1 leaves out what a router can do without: `vipd import`, mail and HTTP
export SMALL
# vipd is for router images and initramfs: its size is a feature, and it has a limit that fails the build.
# The aim is 512,000 bytes. Until the program is back there, the limit keeps it from growing further.
export SIZE_BUDGET ?= 602112
# who plays the other node in the demo: vipd or keepalived
PEER ?= vipd
# `make install`: where, and for which init: busybox, openrc, procd, runit, s6, systemd; none: all as examples
DESTDIR ?=
PREFIX ?= /usr
INIT ?= none
export DESTDIR PREFIX INIT
# what `make bench` runs: names from BENCH=list, --rounds N; empty: everything
BENCH ?=
# the soak's parts (all; `make soak PART=help` names them), random seed, and how many of each
PART ?=
SEED ?= 1
COUNT ?= 20
# `make fuzz`: seconds for each target; `make soak FUZZ=600` fuzzes as well
SECONDS ?= 10
FUZZ ?= 0
# seeds of the simulator in the soak; `make test` plays 20,000
SEEDS ?= 1000000
# `make oci HAPROXY=PATH CA=PATH`: a static HAProxy of yours, a bundle of CA certificates (make exports them)
# What packages and images take for the time of their files.
ifndef SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)
endif
export SOURCE_DATE_EPOCH
# `make image`: the kernel's package or directory, its drivers, a static busybox (see .build/image.sh)
export KERNEL DRIVERS BUSYBOX
CARGO ?= cargo

# Tests and demo drive the program that is shipped, not a debug build of it.
with_vipd = VIPD='$(CURDIR)/target/vipd'
scripts = .ci/run .build/*.sh tests/*.sh tests/fuzz/*.sh init/vipd.procd init/runit/* init/s6/run init/s6/finish init/s6/data/check $(addprefix rootfs/,init etc/init.d/rcS usr/sbin/config usr/share/udhcpc/default.script)
version = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: all init-test deb-test size help deps check test demo bench soak fuzz install uninstall oci container-test dist deb clean
# `deps` and `all` may both run apt-get; cargo uses all cores anyway.
.NOTPARALLEL:

all: ## build target/vipd, static, and prove it: 1 to 2 min from nothing (std included), 0.3 s if up to date
	@.build/static.sh

init-test: deps all ## vipd under runit, s6 and a stand-in for procd: start, kill, hang, reload, stop: 1 min
	tests/init.sh

deb-test: deb ## install, upgrade, remove and purge the Debian package in an overlay: 10 s after the build
	tests/deb.sh

size: ## what takes how much of target/vipd, room by room: 2.5 min
	@.build/size.sh

help: ## this list: at once
	@sed -n 's/^\([a-z-]*\):[^#]*## /  \1|/p' Makefile | while IFS='|' read -r t d; do printf '%-12s %s\n' "$$t" "$$d"; done

deps: ## install what test and demo need (root): 10 s; nothing, and at once, if all is there
	@.build/deps.sh

check: ## formatting, lints, comments and their links, imports, shell scripts; fuzz targets where there is a C++ compiler: 10 s
	@.build/deps.sh check
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/fuzz/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --quiet --locked --test house
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --locked --no-deps --lib
	! $(CXX) --version >/dev/null 2>&1 || $(CARGO) check --quiet --locked --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz
	! command -v shellcheck >/dev/null || shellcheck $(scripts)

test: deps all ## every test, on the static program: 5 min, most of it spent waiting for timers; 3 min more from nothing
	@$(with_vipd) CARGO='$(CARGO)' tests/run.sh

demo: deps all ## watch a failover; PEER=keepalived for a mixed pair: 30 s after the build
	$(with_vipd) $(CARGO) run --quiet --locked --manifest-path tests/demo/Cargo.toml --target-dir target/demo -- --peer $(PEER)

bench: deps all ## vipd beside keepalived, 15 rounds, with pictures: 2 h; BENCH=quick 4 min; BENCH=list
	$(with_vipd) $(CARGO) run --quiet --locked --release --example bench -- $(BENCH)

soak: deps all ## a million seeds of the simulator, a table of 40 faults (PART=faults: 12 min), kills and stalls of real processes, ten million adverts, leaks, 20 min of chaos: 115 min; PART= SEEDS= SEED= COUNT= FUZZ=
	test -n '$(PART)' || SEEDS=$(SEEDS) $(CARGO) test --locked --profile sim --test sim seeds
	test -n '$(PART)' || FAULTS=2 STEPS=16 $(CARGO) test --locked --profile sim --test exhaustive every -- --nocapture
	$(with_vipd) $(CARGO) run --locked --release --example soak -- $(PART) $(SEED) $(COUNT)
	test -n '$(PART)' || $(with_vipd) RELOADS=100 $(CARGO) test --locked --test net reloads_under -- --nocapture
	test $(FUZZ) = 0 || CARGO='$(CARGO)' tests/fuzz/run.sh $(FUZZ)

# Any stable Rust and a C++ compiler (apt install g++, apk add g++); libfuzzer-sys comes from crates.io, no
# cargo-fuzz.
fuzz: ## every decoder and the whole node against libFuzzer, fifteen targets: SECONDS=10 each: 2.5 min, 3 min the first time
	CARGO='$(CARGO)' tests/fuzz/run.sh $(SECONDS)

.PHONY: image vm-test apk
image: all ## target/image: kernel, initrd and disk.img of an appliance that boots (Debian, x86-64): 20 s, and 3 min the first time
	@.build/deps.sh image
	@.build/image.sh

vm-test: image ## two of these images under emulation, and what becomes of the address with each fault (root): 5 min on a busy machine
	@.build/deps.sh vm
	@tests/vm/run.py

apk: all ## target/apk: a package for Alpine; where there is no apk, in a real Alpine under emulation, which tries it: 6 min on a busy machine
	@.build/haproxy.sh
	@.build/deps.sh vm
	@.build/apk.sh

# Only if it is missing: `sudo make install` must not compile as root what the user has built.
target/vipd:
	@.build/static.sh

install: target/vipd ## DESTDIR= PREFIX=/usr INIT=none|busybox|openrc|procd|runit|s6|systemd: at once
	@.build/install.sh install

uninstall: ## what install has put there, but neither /etc/vipd.ini nor /etc/inittab: at once
	@.build/install.sh uninstall

oci: all ## target/vipd-oci.tar, an OCI image from scratch with vipd and a static HAProxy; HAPROXY= CA=: 2 s after the builds, HAProxy's 2 min
	@.build/oci.sh

container-test: oci ## pairs of containers on this machine's Docker engine, with Compose (root): stop, kill, pause, crash: 1.5 min
	@.build/deps.sh
	@tests/containers.sh

# As the last commit has it: the same commit gives the same bytes.
dist: ## target/vipd-VERSION.tar.gz, the source: at once
	@git -c tar.umask=0022 archive --prefix=vipd-$(version)/ HEAD | gzip -9n >target/vipd-$(version).tar.gz
	@wc -c target/vipd-$(version).tar.gz && sha256sum target/vipd-$(version).tar.gz

deb: all ## target/vipd_VERSION_ARCH.deb, for Debian and its like; lintian judges it if it is installed: 5 s after the build
	@.build/deb.sh

clean: ## remove target/: at once
	rm -rf target
