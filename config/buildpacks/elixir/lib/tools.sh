# Erlang and Elixir: the machine's own when they are what the app wants, else from the mirror.

# Prints the version of the Erlang whose `erl` is first on PATH, or nothing. Read from its files: starting it takes long.
machine_erlang() {
  local erl root
  erl=$(readlink -f "$(command -v erl)") || return 0
  root=$(dirname "$(dirname "$erl")")
  cat "$root"/releases/*/OTP_VERSION 2>/dev/null | sort -V | tail -n 1 || true
}

# Prints the version of the Elixir whose `elixir` is first on PATH, or nothing.
machine_elixir() {
  local elixir app
  elixir=$(readlink -f "$(command -v elixir)") || return 0
  app=$(dirname "$(dirname "$elixir")")/lib/elixir/ebin/elixir.app
  if [[ -f $app ]]; then
    sed -n 's/.*{vsn, *"\([^"]*\)"}.*/\1/p' "$app"
  else
    elixir --short-version 2>/dev/null || true
  fi
}

# Puts both on PATH; `tools` says whose they are: machine or mirror.
find_erlang_and_elixir() {
  local erlang elixir
  erlang=$(machine_erlang)
  elixir=$(machine_elixir)
  if [[ -n $erlang && -n $elixir ]] && satisfies "$erlang" "$erlang_version" && satisfies "$elixir" "$elixir_version"; then
    tools=machine
    heading "Using Erlang $erlang and Elixir $elixir of this machine"
    return
  fi
  if [[ -z ${GIGALIXIR_ELIXIR_MIRROR:-} ]]; then
    fail "This app wants Erlang ${erlang_version:-of any version} and Elixir ${elixir_version:-of any version}; the machine has Erlang ${erlang:-nowhere} and Elixir ${elixir:-nowhere}, and no mirror is configured." \
      "Ask for the machine's versions in elixir_buildpack.config or .tool-versions." \
      "Operator: set builder.elixir_mirror to a site with precompiled builds." \
      "Name such a site in the app's config: GIGALIXIR_ELIXIR_MIRROR=https://HOST/builds"
  fi
  if [[ -z $erlang_version || -z $elixir_version ]]; then
    fail "The machine's Erlang and Elixir do not fit, and the app does not say which versions it wants of both." \
      "Write erlang_version and elixir_version into elixir_buildpack.config, or both into .tool-versions."
  fi
  tools=mirror
  install_from_mirror
}
