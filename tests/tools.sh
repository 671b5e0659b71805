#!/usr/bin/env bash
# Installs what `make test` needs and this machine lacks: Debian packages through apt, the rest below
# ${XDG_CACHE_HOME:-~/.cache}/millstream/tools/bin, which the Makefile puts on the PATH.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/millstream
bin=$cache/tools/bin
mkdir -p "$bin"
export PATH="$bin:$PATH"

root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
have() { command -v "$1" >/dev/null 2>&1; }
say() { printf 'tools: %s\n' "$*"; }

# Debian packages: libclang reads RocksDB's headers, OpenSSL and zlib go into librdkafka.
missing=()
if have dpkg; then
  for package in libclang-dev libssl-dev zlib1g-dev pkg-config; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
fi
# The servers of the tests of sinks beyond Kafka, which start their own on free ports.
if have dpkg; then
  for package in postgresql redis-server mosquitto mosquitto-clients; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
fi
have g++ || missing+=(g++)
have make || missing+=(make)
# The JDK and Maven run the real Kafka broker and Kafka Streams of the tests, openssl makes their certificates, and
# valgrind counts instructions.
have mvn || missing+=(maven)
have valgrind || missing+=(valgrind)

updated=
update() { [ -n "$updated" ] || { root apt-get update -qq && updated=1; }; }
if [ ${#missing[@]} -gt 0 ]; then
  have apt-get || { say "please install: ${missing[*]}"; exit 1; }
  say "installing ${missing[*]}"
  update
  root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if have rustup; then
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
fi

# Built away from the project's target directory.
if ! have cargo-deny; then
  say "building cargo-deny (a few minutes)"
  env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$cache/tools" cargo-deny --version 0.20.2
fi

if ! have helm; then
  if have go; then
    say "building helm (a few minutes)"
    GOBIN=$bin go install helm.sh/helm/v3/cmd/helm@v3.18.6
  else
    say "no helm and no Go to build it with: the chart will not be checked"
  fi
fi

# promtool comes with Debian's prometheus; only the program is taken, so that no server starts.
if ! have promtool && have apt-get; then
  tmp=$(mktemp -d)
  if (cd "$tmp" && { apt-get download -qq prometheus || { update && apt-get download -qq prometheus; }; } && dpkg -x prometheus_*.deb .) >/dev/null 2>&1; then
    install "$tmp/usr/bin/promtool" "$bin/promtool"
  else
    say "promtool cannot be had: the metrics' text will not be checked with it"
  fi
  rm -rf "$tmp"
fi

# Jars of the tests, fetched before a test waits for them.
"$(dirname "$0")"/kafka/broker jars
"$(dirname "$0")"/kafka/streams/app jars
