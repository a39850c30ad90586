# Mix mode: the slug is the built tree, run by mix.

prepare_mix_mode() {
  local task='run --no-halt'
  if [[ ${project[phoenix]} == true ]]; then
    task=phx.server
  fi
  mkdir -p .gigalixir .profile.d
  echo "$task" >.gigalixir/mix_task
  {
    echo "export MIX_ENV=\${MIX_ENV:-$MIX_ENV}"
    echo "export MIX_HOME=$runtime_path/.mix HEX_HOME=$runtime_path/.hex"
  } >.profile.d/elixir_mix.sh
}
