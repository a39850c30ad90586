# The mix project: what it is, its dependencies, its code, its assets.

# Sets `mode` (release or mix), `release_name`, and project[…] with what mix.exs says.
#
# A release is made when mix.exs has `releases:`, or rel/ or config/releases.exs are there. config/runtime.exs alone
# says nothing, both modes read it. `release=true` or `false` in elixir_buildpack.config decides otherwise.
read_project() {
  local facts key value
  declare -gA project=()
  facts=$(elixir "$pack/lib/project.exs") || fail "mix.exs cannot be read; see above."
  while IFS='=' read -r key value; do
    project[$key]=$value
  done <<<"$facts"
  release_name=${GIGALIXIR_RELEASE_NAME:-${project[default_release]:-}}
  if [[ -z $release ]]; then
    release=false
    if [[ -n ${project[releases]} || -d rel || -f config/releases.exs ]]; then
      release=true
    fi
  fi
  if [[ $release != true ]]; then
    mode=mix
    return
  fi
  mode=release
  if [[ -f rel/config.exs && -z ${project[releases]} ]]; then
    fail "This app makes its releases with Distillery (rel/config.exs), which this buildpack does not know." \
      "Use mix's own releases: write \`releases:\` into mix.exs." \
      "Name a Distillery buildpack in .buildpacks."
  fi
  local names
  read -r -a names <<<"${project[releases]}"
  if ((${#names[@]} == 1)) && [[ -z $release_name ]]; then
    release_name=${names[0]}
  elif [[ -z $release_name ]] && ((${#names[@]} > 1)); then
    fail "mix.exs has ${#names[@]} releases (${names[*]}); one is deployed." \
      "Write \`default_release: :${names[0]}\` into the project of mix.exs." \
      "Set the app's config GIGALIXIR_RELEASE_NAME."
  fi
  release_name=${release_name:-${project[app]}}
  [[ -n $release_name ]] || fail "An umbrella needs \`releases:\` in its mix.exs to be made a release of."
}

fetch_dependencies() {
  run_hook pre_fetch_dependencies
  [[ ${project[deps]} == true ]] || return 0
  heading "Fetching dependencies"
  if [[ ${project[hex]} == true ]]; then
    compgen -G "$MIX_HOME/archives/hex-*" >/dev/null || indented mix local.hex --force --if-missing
    compgen -G "$MIX_HOME/elixir/*/rebar3" >/dev/null || indented mix local.rebar --force --if-missing
  fi
  indented mix deps.get --only "$MIX_ENV"
}

# `mix release` compiles by itself: one start of mix less when nothing has to happen in between.
compile_project() {
  run_hook pre_compile
  [[ $mode == mix || -n $hook_post_compile || ${project[assets]} == true ]] || return 0
  heading "Compiling"
  indented mix compile
  run_hook post_compile
}

build_assets() {
  [[ ${project[assets]} == true ]] || return 0
  heading "Building assets"
  indented mix assets.deploy
}
