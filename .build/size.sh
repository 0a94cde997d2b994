#!/bin/sh
# What target/vipd's room is spent on: bytes of code and named constants for each room of src/, the standard
# library, the crates and the C library. `make size` calls it. Inlined code counts where it was inlined.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

bin=target/.vipd.symbols
CARGO_PROFILE_RELEASE_STRIP=none BIN=$bin SIZE_BUDGET=99999999 .build/static.sh >/dev/null
stripped=target/.vipd.stripped
trap 'rm -f $stripped' EXIT
strip -o $stripped $bin
all=$(wc -c <$stripped)

# Symbols with a size, in decimal: address, size, type, name. Types b and B take no room in the file.
nm -S -C -t d $bin | awk -v all="$all" -v rooms=" $(cd src && echo *) " '
    NF >= 4 && $3 !~ /[bB]/ && !seen[$1]++ {
        name = $0
        if (match(name, /vipd::[a-z_0-9]+(::|>| )/)) {
            room = substr(name, RSTART, RLENGTH)
            gsub(/^vipd::|[:> ]+$/, "", room)
            if (!index(rooms, " " room " ") && !index(rooms, " " room ".rs ")) room = "main"
        } else if (name ~ /OUTLINED_FUNCTION/) room = "(sequences that are there often)"
        else if (name ~ /(core|alloc|std)::|<str>|<char>|<\[/) room = "(standard library)"
        else if (name ~ /(nix|lexopt|log|syslog|libc)::/) room = "(crates)"
        else if (name ~ /vipd::/) room = "main"
        else room = "(C library)"
        sum[room] += $2
        named += $2
    }
    END {
        for (room in sum) printf "%8d  %s\n", sum[room], room
        printf "%8d  %s\n", all - named, "(texts, tables and headers without a name)"
    }' | sort -rn
printf '%8d  %s\n' "$all" 'all'
