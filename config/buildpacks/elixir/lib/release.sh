# Release mode: the slug is what `mix release` makes, with a Procfile.

# Makes $1/NAME-VERSION.tar.gz and $1/capabilities.
make_release() {
  local out=$1 tree=_build/$MIX_ENV/rel/$release_name version cookie='' options
  heading "Making the release $release_name"
  # What an older release left would be in this one; its cookie alone stays.
  if [[ -f $tree/releases/COOKIE ]]; then
    cookie=$(<"$tree/releases/COOKIE")
  fi
  rm -rf "$tree"
  if [[ -n $cookie ]]; then
    mkdir -p "$tree/releases"
    printf %s "$cookie" >"$tree/releases/COOKIE"
  fi
  read -r -a options <<<"${GIGALIXIR_RELEASE_OPTIONS:---overwrite}"
  indented mix release "$release_name" "${options[@]}"
  [[ -x $tree/bin/$release_name ]] || fail "mix made no $tree/bin/$release_name." \
    "Leave \`path:\` out of the release in mix.exs."
  version=$(cut -d ' ' -f 2 "$tree/releases/start_erl.data")

  add_appups "$tree"
  add_procfile "$tree"
  include_files "$tree"
  mkdir -p "$out"
  tar --sort=name --mtime='2000-01-01 00:00:00Z' --owner=0 --group=0 --numeric-owner --format=gnu \
    -C "$tree" -cf - . | gzip -1 --no-name >"$out/$release_name-$version.tar.gz"
  printf '{"distillery":%s,"apps":[%s]}\n' \
    '{"eval":"elixir","rpc":"no_print","start_command":"start","remote_command":"remote"}' \
    "$(own_apps)" >"$out/capabilities"
}

# The project's own applications, as JSON strings: a hot upgrade knows them from dependencies.
own_apps() {
  local names
  read -r -a names <<<"${project[apps]:-}"
  ((${#names[@]} == 0)) || printf '"%s"\n' "${names[@]}" | paste -sd ,
}

# rel/appups/NAME.appup goes to the application it is named after, where hot upgrades look for it.
add_appups() {
  local appup name ebin
  for appup in rel/appups/*.appup; do
    [[ -f $appup ]] || continue
    name=${appup##*/}
    ebin=$(compgen -G "$1/lib/${name%.appup}-[0-9]*/ebin") ||
      fail "$appup is for an application that the release does not have."
    cp "$appup" "$ebin/$name"
  done
}

# The release's own (rel/overlays/Procfile) before the repository's before the default.
add_procfile() {
  if [[ -f $1/Procfile ]]; then
    return
  elif [[ -f Procfile ]]; then
    cp Procfile "$1/Procfile"
  else
    echo "web: bin/$release_name start" >"$1/Procfile"
  fi
}

# .profile.d, downloaded Erlang where the release brings none, and the paths in .gigalixir/releases/includes.txt.
include_files() {
  local path
  if [[ $tools == mirror ]] && ! compgen -G "$1/erts-*" >/dev/null; then
    cp -a .platform_tools "$1/"
    write_export
  fi
  if [[ -d .profile.d ]]; then
    cp -a .profile.d "$1/"
  fi
  if [[ -f .gigalixir/releases/includes.txt ]]; then
    while read -r path; do
      [[ -n $path && $path != '#'* ]] || continue
      cp -a --parents "$path" "$1/" || fail "\`$path\` of .gigalixir/releases/includes.txt cannot be copied."
    done <.gigalixir/releases/includes.txt
  fi
}
