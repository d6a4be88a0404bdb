#!/usr/bin/env bash
# Two servers that act as one, with a PostgreSQL and a Redis of their own, for anyone who wants to try.
#
#     tests/cluster.sh                  prints where they are and keeps them up until Ctrl-C
#     tests/cluster.sh node script.mjs  runs a command instead, and stops everything afterwards
#
# The command gets what tests/with-server gives, for the first server, and TEST_URL_OTHER,
# TEST_PID_OTHER and TEST_REDIS. The second server is Redis' user `other`, so that it alone can be cut off. Everything is
# on free ports and in folders of its own.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tests/interruptible.sh"
work=$(mktemp -d /tmp/rowcast-cluster-XXXXXX)

child=
stop() {
  local status=$?
  uninterrupted
  trap - EXIT
  end_command
  if [ -n "$child" ]; then kill "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; fi
  # Not after Ctrl-C, which is how it usually ends.
  [ "$status" = 0 ] || [ "$status" -gt 128 ] || tail -n 20 "$work"/*.log 2>/dev/null || true
  rm -rf "$work"
  exit "$status"
}
trap stop EXIT

# Waits ten seconds for a command to succeed while the child lives.
until_up() {
  for _ in $(seq 100); do
    "$@" && return
    kill -0 "$child" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# The outer half: Redis, around PostgreSQL and the first server.
if [ -z "${CLUSTER_INNER:-}" ]; then
  start_redis() {
    local port=$((10000 + RANDOM % 20000))
    (cd "$work" && exec redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no \
      --user other on nopass '~*' '&*' +@all) \
      >"$work/redis.log" 2>&1 &
    child=$!
    export TEST_REDIS=redis://127.0.0.1:$port
    until_up redis-cli -u "$TEST_REDIS" ping >"$work/ping.log" 2>&1
  }
  tries=5
  until start_redis; do [ $((tries -= 1)) -gt 0 ] || exit 1; done
  export CLUSTER_INNER=1
  export SERVER_ENV="ROWCAST_REDIS_URL=$TEST_REDIS ${SERVER_ENV:-}"
  run_command "$root/tests/with-server" "$0" "$@"
  exit
fi

# The inner half: the second server, and the command.
: >"$work/server.log"
# shellcheck disable=SC2086
env -i PATH="$PATH" PORT=0 ROWCAST_BIND=127.0.0.1 DATABASE_URL="$TEST_DB" API_JWT_SECRET="$TEST_SECRET" \
  ROWCAST_AUTO_MIGRATE=false CHANNEL_ERROR_BACKOFF_MS=200 CONNECT_ERROR_BACKOFF_MS=200 \
  TENANT_MAX_EVENTS_PER_SECOND=10000 CLIENT_PRESENCE_MAX_CALLS=100 \
  $SERVER_ENV ROWCAST_REDIS_URL="redis://other:any@${TEST_REDIS#redis://}" \
  "$TEST_BIN" serve >"$work/server.log" 2>&1 &
child=$!
export TEST_PID_OTHER=$child
listens() {
  local address
  address=$(sed -n 's/.*Listening on //p' "$work/server.log")
  export TEST_URL_OTHER=http://$address
  [ -n "$address" ]
}
until_up listens
if [ $# -gt 0 ]; then
  run_command "$@"
  exit
fi
cat <<END
one server   $TEST_URL
the other    $TEST_URL_OTHER
PostgreSQL   $TEST_DB
Redis        $TEST_REDIS
anon key     $TEST_ANON_KEY

Ctrl-C stops everything.
END
run_command sleep infinity
