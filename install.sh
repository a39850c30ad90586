#!/usr/bin/env bash
# Installs gigalixir, or tries it out.
#
#   ./install.sh --try    build it, start it on loopback, push an example app with git, show where it answers
#   ./install.sh --stop   stop what --try started; nothing is left running
#   ./install.sh          as root: install the binary, a system user, the configuration and the systemd service
set -euo pipefail
cd "$(dirname "$0")"

TRY=$PWD/target/try
API=${GIGALIXIR_TRY_API:-127.0.0.1:4000}
HTTP=${GIGALIXIR_TRY_HTTP:-127.0.0.1:8080}
SSH=${GIGALIXIR_TRY_SSH:-127.0.0.1:2222}
EMAIL=you@example.com
APP=hello

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# Debian packages that are not there yet.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing ${missing[*]}"
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The compiler: whatever `cargo` there is, else Debian's rustup.
install_rust() {
  PATH=$PATH:$HOME/.cargo/bin
  if ! command -v cargo >/dev/null; then
    apt-cache show rustup >/dev/null 2>&1 ||
      die "a Rust compiler is needed (1.95 or newer): install it as https://rustup.rs says, then run this again"
    install_packages rustup
    rustup default stable
  fi
}

try() {
  local started=$SECONDS clone=$PWD
  install_packages ca-certificates gcc libc6-dev make git curl bubblewrap erlang-base erlang-dev elixir openssh-sftp-server
  install_rust
  stop_try
  say "Building (a few minutes the first time)"
  cargo build --locked --profile quick --bin gigalixir
  local bin=$PWD/target/quick/gigalixir
  mkdir -p "$TRY/home"

  say "Starting the platform"
  "$bin" server --data-dir "$TRY/data" --api "$API" --http "$HTTP" --ssh "$SSH" --stop-apps-on-exit >"$TRY/server.log" 2>&1 &
  echo $! >"$TRY/pid"
  wait_for "http://$API/healthz" || { cat "$TRY/server.log" >&2; die "the server did not start"; }

  # A home of its own: nothing of yours is touched.
  export HOME=$TRY/home GIGALIXIR_HOST=http://$API
  git config --global user.name "You"
  git config --global user.email "$EMAIL"
  [ -s "$HOME/.netrc" ] || sign_up "$bin"

  say "Creating the app and pushing examples/elixir-release"
  rm -rf "$TRY/$APP"
  cp -r examples/elixir-release "$TRY/$APP"
  cd "$TRY/$APP"
  git init -q -b main
  git add -A
  git commit -q -m "Hello"
  if "$bin" apps:info -a "$APP" >/dev/null 2>&1; then
    "$bin" git:remote "$APP"
    git push --force gigalixir main
  else
    "$bin" create -n "$APP" >/dev/null
    git push gigalixir main
  fi

  local url=http://$APP.localhost:${HTTP##*:}/
  say "It answers at $url :"
  curl -fsS --resolve "$APP.localhost:${HTTP##*:}:${HTTP%:*}" "$url"
  cat <<END

Done in $((SECONDS - started)) seconds. Next:
  export HOME=$TRY/home GIGALIXIR_HOST=http://$API PATH=$(dirname "$bin"):\$PATH
  cd $TRY/$APP          # change something, then: git commit -am "Change" && git push gigalixir main
  gigalixir ps          # and: gigalixir logs, gigalixir releases, gigalixir releases:rollback
Stop it with:  $clone/install.sh --stop
END
}

sign_up() {
  local bin=$1 uuid code
  say "Signing up $EMAIL"
  uuid=$("$bin" signup:start -e "$EMAIL")
  code=$(grep -rhoP '^Code: *\K\S+' "$TRY/data/outbox" | tail -n 1)
  head -c 18 /dev/urandom | base64 | "$bin" signup:finish --uuid "$uuid" --code "$code" --password-stdin
}

wait_for() {
  local _
  for _ in $(seq 100); do
    curl -fs -o /dev/null "$1" && return
    sleep 0.1
  done
  return 1
}

stop_try() {
  [ -f "$TRY/pid" ] || return 0
  local pid
  pid=$(cat "$TRY/pid")
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = gigalixir ]; then
    kill "$pid"
    tail --pid="$pid" -f /dev/null
  fi
  rm -f "$TRY/pid"
}

install() {
  [ "$(id -u)" = 0 ] || die "run this as root to install (or with --try to try it out)"
  install_packages ca-certificates gcc libc6-dev make git curl bubblewrap erlang-base erlang-dev elixir openssh-sftp-server
  install_rust
  say "Building (about ten minutes)"
  cargo build --release --locked --bin gigalixir
  command install -m 755 target/release/gigalixir /usr/local/bin/gigalixir
  id gigalixir >/dev/null 2>&1 || useradd --system --home-dir /var/lib/gigalixir --shell /usr/sbin/nologin gigalixir
  command install -d -m 700 -o gigalixir -g gigalixir /var/lib/gigalixir
  command install -d -m 755 /etc/gigalixir
  [ -e /etc/gigalixir/server.toml ] || command install -m 640 -g gigalixir config/server.toml /etc/gigalixir/server.toml
  command install -m 644 config/systemd/gigalixir.service config/systemd/gigalixir.socket \
    config/systemd/gigalixir-ssh.socket /etc/systemd/system/
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --now gigalixir.socket gigalixir-ssh.socket gigalixir.service
  else
    say "systemd is not running here: the units are installed, nothing was started"
  fi
  cat <<END

Installed. Next:
  1. Set \`domain\` in /etc/gigalixir/server.toml and point DOMAIN and *.DOMAIN at this machine.
  2. systemctl restart gigalixir
  3. gigalixir signup        # the first account is the operator's; its code is in /var/lib/gigalixir/outbox
END
}

case ${1:-} in
  --try) try ;;
  --stop) stop_try; say "Stopped." ;;
  "") install ;;
  *) sed -n '2,6p' "$0" | cut -c3-; exit 2 ;;
esac
