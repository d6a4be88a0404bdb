#!/usr/bin/env bash
# What lies in deploy/, put to work before two servers: both proxies, the health check, the addresses that
# sign in, and the settings of docker-compose.yml.
#
#     tests/proxy.sh
#
# Needs haproxy, nginx, what tests/cluster.sh needs, and the packages of tests/js.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:/usr/sbin
if [ -z "${TEST_URL_OTHER:-}" ]; then
  for program in haproxy nginx redis-server redis-cli node python3; do
    command -v "$program" >/dev/null || { echo "please install $program" >&2; exit 1; }
  done
  export SERVER_ENV="ROWCAST_STRICT_HOST=true ${SERVER_ENV:-}"
  exec "$root/tests/cluster.sh" "$0"
fi

source "$root/tests/interruptible.sh"
work=$(mktemp -d /tmp/rowcast-proxy-XXXXXX)
chmod 711 "$work"
children=()
stop() {
  local status=$?
  uninterrupted
  trap - EXIT
  end_command
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
  [ "$status" = 0 ] || tail -n 20 "$work"/*.log 2>/dev/null || true
  rm -rf "$work"
  exit "$status"
}
trap stop EXIT

# Below the ports that the system gives to outgoing connections.
free_port() {
  local port
  while port=$((10000 + RANDOM % 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

# Writes an example with the addresses of the test in the place of its own.
adapt() { # adapt FILE PORT EDIT…
  local file=$1 port=$2; shift 2
  sed -e "s/rowcast1:4000/${TEST_URL#http://}/; s/rowcast2:4000/${TEST_URL_OTHER#http://}/" \
    -e "s/bind :4000/bind 127.0.0.1:$port/; s/listen 4000/listen 127.0.0.1:$port/" \
    "$@" "$root/deploy/$file" >"$work/$file"
}

start_haproxy() {
  local port; port=$(free_port)
  adapt haproxy.cfg "$port"
  haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
  children+=($!)
  until_ready haproxy "$!" "$port"
}

start_nginx() {
  local port path edits=(); port=$(free_port)
  for path in client_body proxy fastcgi uwsgi scgi; do
    edits+=(-e "s|^http {|&\n${path}_temp_path $work/$path;|")
  done
  adapt nginx.conf "$port" -e "s/4101/$(free_port)/" -e "s/4102/$(free_port)/" "${edits[@]}"
  nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx-start.log" -g "daemon off; pid $work/nginx.pid;" \
    >"$work/nginx.log" 2>&1 &
  children+=($!)
  until_ready nginx "$!" "$port"
}

# Waits ten seconds for a proxy to pass on that a server is ready.
until_ready() { # until_ready NAME PID PORT
  for _ in $(seq 100); do
    if PORT=$3 "$root/deploy/healthcheck.sh" 2>/dev/null; then
      PROXIES+=" $1=http://127.0.0.1:$3"
      return
    fi
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

PROXIES=
for start in start_haproxy start_nginx; do
  # Between the choice of a port and its use somebody else may take it.
  tries=3
  until "$start"; do [ $((tries -= 1)) -gt 0 ] || exit 1; done
done
export PROXIES

haproxy -c -q -f "$root/deploy/haproxy.cfg"

PORT=${TEST_URL##*:} "$root/deploy/healthcheck.sh"
if PORT=$(free_port) "$root/deploy/healthcheck.sh" 2>/dev/null; then
  echo 'the health check takes nobody for a server' >&2
  exit 1
fi

mkdir "$work/bin"
ln -s "$TEST_BIN" "$work/bin/rowcast"
SIGN_IN=$(PATH=$work/bin:$PATH API_JWT_SECRET=$TEST_SECRET bash "$root/deploy/sign-in.sh" Ada)
export SIGN_IN

settings=$(python3 "$root/tests/compose.py")
mapfile -t settings <<<"$settings"
env -i "${settings[@]}" "$TEST_BIN" config check >"$work/settings.log"

run_command node --test --test-force-exit --test-reporter=spec "$root/tests/js/proxy.mjs" "$root/tests/js/proxy-rules.mjs"
