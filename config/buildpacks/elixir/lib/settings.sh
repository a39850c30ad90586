# What the app wants: versions, hooks, mode.

# The app's variables; a pack never takes those that decide which programs run.
export_env_dir() {
  local file name value
  for file in "$1"/*; do
    name=${file##*/}
    case $name in
      '*' | PATH | GIT_DIR | CPATH | CPPATH | LIBRARY_PATH | LD_* | HOME | TMPDIR | LANG | LC_ALL) continue ;;
      BASH* | ENV | IFS | PS4 | SHELLOPTS | PWD | OLDPWD | UID | EUID | PPID | pack | build | cache | env_dir) continue ;;
    esac
    IFS= read -r -d '' value <"$file" || true
    export "$name=$value"
  done
  export MIX_ENV=${MIX_ENV:-prod}
  export MIX_HOME=$build/.mix HEX_HOME=$build/.hex
}

# Sets erlang_version and elixir_version ("" is any), release ("" is: find out), always_rebuild, runtime_path, hook_*.
read_settings() {
  erlang_version='' elixir_version='' release='' always_rebuild=false runtime_path=/app
  hook_pre_fetch_dependencies='' hook_pre_compile='' hook_post_compile=''
  if [[ -f .tool-versions ]]; then
    erlang_version=$(awk '$1 == "erlang" { print $2; exit }' .tool-versions)
    elixir_version=$(awk '$1 == "elixir" { print $2; exit }' .tool-versions)
  fi
  if [[ -f elixir_buildpack.config ]]; then
    # shellcheck source=/dev/null
    source ./elixir_buildpack.config
    if [[ $(declare -p elixir_version) == "declare -a"* ]]; then
      fail "elixir_buildpack.config asks for Elixir's branch \`${elixir_version[*]:1}\`; only versions can be had." \
        "Write a version, such as elixir_version=1.18"
    fi
  fi
  elixir_version=${elixir_version#v}
  elixir_version=${elixir_version%%-otp-*}
  erlang_version=${erlang_version#OTP-}
  local version
  for version in "$erlang_version" "$elixir_version"; do
    [[ -z $version || $version =~ ^[0-9]+(\.[0-9]+)*(-rc\.?[0-9]+)?$ ]] ||
      fail "\`$version\` is not a version." "Write it as 27, 27.1 or 1.18.2 in elixir_buildpack.config or .tool-versions."
  done
}

# Whether version $1 is the wanted $2 or one of its line: 25.3.2 satisfies 25 and 25.3; anything satisfies "".
satisfies() {
  [[ -z $2 || $1 == "$2" || $1 == "$2".* ]]
}

run_hook() {
  local name=hook_$1
  [[ -n ${!name} ]] || return 0
  heading "Running $name"
  indented bash -c "${!name}"
}
