#!/usr/bin/env bash
# Prints an address that signs somebody in to the chat app: for a demonstration, where a name is enough.
#
#     sign-in Ada
#
# Needs API_JWT_SECRET as the server has it, and PUBLIC_URL, where browsers find the app.
set -euo pipefail

name=${1:-}
case $name in
  '' | *[\"\\[:cntrl:]]*) echo 'usage: sign-in NAME (without quotes and backslashes)' >&2; exit 2 ;;
esac
# The same name is the same person: an id made from it.
hash=$(printf %s "${name,,}" | sha256sum)
id=${hash:0:8}-${hash:8:4}-8${hash:13:3}-8${hash:17:3}-${hash:20:12}
token=$(rowcast token --role authenticated --sub "$id" --exp 1d --claim aud=authenticated \
  --claim "user_metadata={\"name\":\"$name\"}")
echo "${PUBLIC_URL:-http://localhost:4000}/#token=$token&key=$(rowcast token --role anon --exp 30d)"
