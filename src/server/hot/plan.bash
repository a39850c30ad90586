#!/bin/bash
# Compares two releases, inside the sandbox: /tmp/old.tar.gz runs, /tmp/new.tar.gz shall run. The new one's own Erlang does
# it, or where it brings none, the one that it would be run by.
#
#   plan OWN_APPS       the project's own applications, by comma
#
# Nothing of either release is run; what comes of it is /tmp/result/plan, or a sentence on standard output.
set -eu
for side in old new; do
  mkdir "/tmp/$side"
  tar -xzf "/tmp/$side.tar.gz" -C "/tmp/$side"
  [[ -f /tmp/$side/releases/start_erl.data ]] || { echo "the $side code is no mix release"; exit 3; }
done
version=$(cut -d ' ' -f 2 /tmp/new/releases/start_erl.data)
erl=erl
for own in /tmp/new/erts-*/bin/erl /tmp/new/.platform_tools/*/bin/erl; do
  [[ ! -x $own ]] || { erl=$own; break; }
done
cd /tmp/plan
exec "$erl" -noinput -boot "/tmp/new/releases/$version/start_clean" -boot_var RELEASE_LIB /tmp/new/lib -eval '
  Load = fun(File) ->
      {ok, Module, Code} = compile:file(File, [binary, return_errors]),
      {module, Module} = code:load_binary(Module, File, Code)
  end,
  [Own] = init:get_plain_arguments(),
  try
      [Load(File) || File <- ["release", "appup", "refusals", "plan"]],
      gigalixir_plan:main(["/tmp/old", "/tmp/new", Own, "/tmp/result/plan"]),
      halt(0)
  catch Class:Why:Stack ->
      io:format("~0tP~n", [{Class, Why, Stack}, 40]),
      halt(4)
  end.' -extra "$1"
