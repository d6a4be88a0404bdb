# Sourced by scripts that run servers: whatever ends the script ends its command, all of it.
#
#     source tests/interruptible.sh
#     trap 'uninterrupted; end_command' EXIT
#     run_command tests/with-server …

command_group=
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command and gives its status. In a process group of its own, so that a signal for the
# script interrupts the wait at once, and all that the command started can be ended.
run_command() {
  local status=0
  set -m
  "$@" </dev/null &
  command_group=$!
  set +m
  wait "$command_group" || status=$?
  end_command
  return "$status"
}

# For the start of an EXIT trap: a second Ctrl-C does not stop the stopping.
uninterrupted() { trap '' HUP INT TERM; }

# Ends what is left of the command; it has half a minute to stop its own servers.
end_command() {
  [ -n "$command_group" ] || return 0
  kill -TERM -- "-$command_group" 2>/dev/null || true
  local tenths=300
  while kill -0 -- "-$command_group" 2>/dev/null && [ $((tenths -= 1)) -gt 0 ]; do sleep 0.1; done
  kill -KILL -- "-$command_group" 2>/dev/null || true
  command_group=
}
