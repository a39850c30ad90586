#!/bin/bash
# Compares two releases, inside the sandbox: /tmp/old.tar.gz runs, /tmp/new.tar.gz shall run. The new one's own Erlang does
# it, or where it brings none, the one that it would be run by.
#
#   plan OWN_APPS       the project's own applications, by comma
#
# Nothing of either release is run; what comes of it is /tmp/result/plan, or a sentence on standard output.
set -eu
unpack() {
  mkdir "/tmp/$1"
  tar -xzf "/tmp/$1.tar.gz" -C "/tmp/$1" "${@:2}"
}
# Of the old one nothing is run.
unpack old --exclude='./erts-*' --exclude='erts-*' &
unpack new
wait $!
for side in old new; do
  [[ -f /tmp/$side/releases/start_erl.data ]] || { echo "the $side code is no mix release"; exit 3; }
done
version=$(cut -d ' ' -f 2 /tmp/new/releases/start_erl.data)
erl=erl
for own in /tmp/new/erts-*/bin/erl /tmp/new/.platform_tools/*/bin/erl; do
  [[ ! -x $own ]] || { erl=$own; break; }
done
# Distillery has it elsewhere.
boot=/tmp/new/releases/$version/start_clean
[[ -f $boot.boot ]] || boot=/tmp/new/bin/start_clean
cd /tmp/plan
exec "$erl" -noinput -boot "$boot" -boot_var RELEASE_LIB /tmp/new/lib -eval '
  Load = fun(File) ->
      {ok, Module, Code} = compile:file(File, [binary, return_errors]),
      {module, Module} = code:load_binary(Module, File, Code)
  end,
  [Own] = init:get_plain_arguments(),
  try
      Loading = [spawn_monitor(fun() -> Load(File) end) || File <- ["release", "appup", "refusals", "plan"]],
      [receive {_, Monitor, process, _, End} -> normal = End end || {_, Monitor} <- Loading],
      gigalixir_plan:main(["/tmp/old", "/tmp/new", Own, "/tmp/result/plan"]),
      halt(0)
  catch Class:Why:Stack ->
      io:format("~0tP~n", [{Class, Why, Stack}, 40]),
      halt(4)
  end.' -extra "$1"
