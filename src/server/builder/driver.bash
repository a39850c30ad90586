#!/bin/bash
# Runs all buildpacks of one build, inside the sandbox, one after the other (Heroku's buildpack API).
#
#   driver COUNT       the packs are /tmp/buildpacks/1 … COUNT
#
# /tmp/result/stage always holds the step under way ("compile 2"), so that a failure can be told to its pack;
# /tmp/result/release holds what the last bin/release said. Names begin with gx_: the app's variables share the shell.

# The app's variables, but for those that would change which programs run or how this shell works, and for locales that
# the machine may not have.
gx_export_env() {
  local gx_file gx_name gx_value
  for gx_file in /tmp/env/*; do
    gx_name=${gx_file##*/}
    case $gx_name in
      '*' | PATH | GIT_DIR | CPATH | CPPATH | LIBRARY_PATH | LD_* | HOME | TMPDIR | LANG | LC_ALL) continue ;;
      BASH* | ENV | IFS | PS4 | SHELLOPTS | PWD | OLDPWD | UID | EUID | PPID | gx_*) continue ;;
    esac
    IFS= read -r -d '' gx_value <"$gx_file"
    export "$gx_name=$gx_value"
  done
}

gx_stage() {
  echo "$1" >/tmp/result/stage
}

gx_run_pack() {
  local gx_pack=/tmp/buildpacks/$1 gx_title
  gx_stage "detect $1"
  gx_title=$("$gx_pack/bin/detect" /app) || {
    [[ -z $gx_title ]] || echo "$gx_title"
    return 1
  }
  echo "-----> $gx_title app detected"
  gx_stage "compile $1"
  "$gx_pack/bin/compile" /app /tmp/cache /tmp/env || return
  if [[ -f $gx_pack/export ]]; then
    # shellcheck disable=SC1091
    source "$gx_pack/export"
  fi
  gx_stage "release $1"
  if [[ -f $gx_pack/bin/release ]]; then
    "$gx_pack/bin/release" /app >/tmp/result/release || return
  fi
}

gx_export_env
for ((gx_number = 1; gx_number <= $1; gx_number++)); do
  gx_run_pack "$gx_number" || exit
done
gx_stage "done"
