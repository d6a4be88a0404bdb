#!/usr/bin/env bash
# Whether the server in this container answers. It needs no key, and of the image bash alone.
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${PORT:-4000}"
printf 'GET /healthcheck HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 3 _ status _ <&3
[ "$status" = 200 ]
