# What the pusher reads.

heading() {
  echo "-----> $*"
}

detail() {
  echo "       $*"
}

# Runs a program; its output is indented as it comes. Fails when the program does.
indented() {
  "$@" 2>&1 | sed -u 's/^/       /'
}

# Ends the build: what happened, then one line for each way out.
fail() {
  local way number=1
  {
    echo " !     $1"
    shift
    for way in "$@"; do
      echo " !       $number. $way"
      ((number++))
    done
  } >&2
  exit 1
}
