%% Why two releases cannot be exchanged in a running node: all reasons at once, each with what to do.
-module(gigalixir_refusals).
-export([of_releases/2, of_relup/1, of_app/4]).

%% What concerns the releases as wholes.
of_releases(Old, New) ->
    lists:append([versions(Old, New), runtime(Old, New), files(Old, New), protocols(Old, New), environments(Old, New),
                  same_version(Old, New)]).

%% What concerns the relup that a release brings.
of_relup(none) -> [];
of_relup({Up, _}) ->
    [refusal(appup, {"the release's relup says that the node has to start anew", []}, restart()) || restarts(Up)].

restarts(Instructions) ->
    lists:member(restart_new_emulator, Instructions) orelse lists:member(restart_emulator, Instructions).

%% What concerns one application that goes from one version to another. `Own` if it is the project's.
of_app(Old, #{name := App} = New, #{kind := relup, modules := Modules}, _Own) ->
    natives(App, Old, New, Modules);
of_app(Old, #{name := App} = New, #{kind := own, modules := Modules, up := Up}, _Own) ->
    natives(App, Old, New, Modules) ++
        [refusal(appup, {"the appup of ~ts says that the node has to start anew", [App]}, restart())
         || restarts(Up)];
of_app(Old, #{name := App} = New, #{kind := derived, modules := Modules}, true) ->
    natives(App, Old, New, Modules) ++ start(App, Old, New);
of_app(Old, #{name := App} = New, #{kind := derived, modules := Modules}, false) ->
    natives(App, Old, New, Modules) ++ dependency(Old, New, Modules).

versions(#{name := Name, vsn := Vsn}, #{name := Name, vsn := Vsn}) ->
    [refusal(version, {"the release's version is still ~ts: a running node tells releases apart by it", [Vsn]},
             "raise `version:` in mix.exs")];
versions(#{name := Name}, #{name := Name}) -> [];
versions(#{name := Old}, #{name := New}) ->
    [refusal(version, {"the release was called ~ts and is called ~ts", [Old, New]}, restart())].

%% Erlang, and what no node can exchange under its own feet.
runtime(#{erts := Old}, #{erts := New}) when Old =/= New ->
    [refusal(erts, {"the Erlang runtime (ERTS) goes from ~ts to ~ts", [Old, New]}, restart())];
runtime(#{apps := Old}, #{apps := New}) ->
    [refusal(otp, {"~ts goes from ~ts to ~ts, which a node cannot exchange while it runs", [App, From, To]}, restart())
     || App <- [kernel, stdlib, sasl, compiler, elixir],
        #{App := #{vsn := From}} <- [Old], #{App := #{vsn := To}} <- [New], From =/= To].

files(#{files := Old}, #{files := New}) ->
    [refusal(boot_file, {"~ts has changed; it is read when a node starts and not again", [File]}, restart())
     || {File, Content} <- lists:sort(maps:to_list(Old)), maps:get(File, New) =/= Content].

protocols(#{consolidated := Old}, #{consolidated := New}) ->
    Changed = [P || P <- lists:usort(maps:keys(Old) ++ maps:keys(New)), maps:get(P, Old, none) =/= maps:get(P, New, none)],
    [refusal(protocols, {"protocols are consolidated differently (other types implement them now): ~ts", [names(Changed)]},
             restart()) || Changed =/= []].

%% An application that says nothing of changes (`config_change/3`) may have read its configuration when it started.
environments(Old, New) ->
    [refusal(environment, {"the configuration of ~ts has changed (~ts), and it has no config_change/3 to be told of it",
                           [App, names([Key || {Key, _} <- Changed] ++ Removed)]},
             {"define config_change/3 in the application module of ~ts, or ~ts", [App, restart()]})
     || {App, Changed, Removed} <- gigalixir_plan:environment(Old, New),
        not gigalixir_plan:takes_config(App, New)].

%% An application's version is the name of its folder in the node.
same_version(#{apps := Old, name := Name, vsn := Old_vsn}, #{apps := New, vsn := New_vsn}) ->
    [refusal(version, {"~ts has other code and still version ~ts", [App, Vsn]},
             {"raise the version of ~ts in its mix.exs", [App]})
     || {App, #{vsn := Vsn} = Before} <- lists:sort(maps:to_list(Old)), #{App := #{vsn := V} = After} <- [New], V =:= Vsn,
        % Of a release that is not raised as a whole that is said already.
        Old_vsn =/= New_vsn orelse atom_to_list(App) =/= Name,
        gigalixir_release:changed_modules(Before, After) =/= {[], [], []} orelse
            maps:get(natives, Before) =/= maps:get(natives, After)].

%% Native code of two versions cannot be in one node.
natives(App, #{natives := Old}, #{natives := New}, Modules) ->
    Files = [F || F <- lists:usort(maps:keys(Old) ++ maps:keys(New)), maps:get(F, Old, none) =/= maps:get(F, New, none)],
    Loaders = [M || #{module := M, native := true, change := Change} <- Modules, Change =/= added],
    [refusal(native, {"native code of ~ts has changed: ~ts", [App, string:join(Files ++ [shown(M) || M <- Loaders], ", ")]},
             restart()) || Files ++ Loaders =/= []].

%% Nobody runs an application's `start/2` again. What only that does differently, no upgrade brings.
start(App, #{keys := Old_keys} = Old, #{keys := New_keys} = New) ->
    case {proplists:get_value(mod, Old_keys), proplists:get_value(mod, New_keys)} of
        {undefined, undefined} -> [];
        {{Module, Same}, {Module, Same}} ->
            [refusal(supervision, {"~ts:start/2 has changed and is not run again, so what it starts would stay as it is",
                                   [shown(Module)]},
                     {"let start/2 only start a supervisor that is a module of its own (`use Supervisor`), whose "
                      "init/1 an upgrade runs again; or write an appup for ~ts; or ~ts", [App, restart()]})
             || starts(Old, Module) =/= starts(New, Module)];
        _ -> [refusal(supervision, {"~ts is started by another module or with other arguments", [App]}, restart())]
    end.

%% All that `start/2` may call of its own module, not what is called at other times; where that cannot be told, all of it.
starts(#{ebin := Ebin}, Module) ->
    Beam = filename:join(Ebin, atom_to_list(Module) ++ ".beam"),
    Apart = [{config_change, 3}, {stop, 1}, {prep_stop, 1}, {module_info, 0}, {module_info, 1}, {'__info__', 1}],
    case gigalixir_release:functions(Beam) of
        unreadable -> beam_lib:md5(Beam);
        Functions -> [F || {Name, Arity, _} = F <- Functions, not lists:member({Name, Arity}, Apart)]
    end.

%% A library without processes is only code. Else its author alone knows how its processes go from one to the other.
dependency(#{name := App, vsn := From}, #{vsn := To}, Modules) ->
    Processes = [M || #{module := M, kind := Kind} <- Modules, Kind =/= code],
    [refusal(appup, {"the dependency ~ts goes from ~ts to ~ts without an appup, and has processes of its own (~ts)",
                     [App, From, To, names(Processes)]},
             {"stay with ~ts ~ts in this upgrade; or write rel/appups/~ts.appup; or ~ts", [App, From, App, restart()]})
     || Processes =/= []].

refusal(What, Text, Fix) ->
    #{what => What, text => text(Text), fix => text(Fix)}.

restart() -> "deploy it with a restart (push without `hot`, or with `or-restart` as well)".

text({Format, Arguments}) -> unicode:characters_to_binary(io_lib:format(Format, Arguments));
text(Text) -> unicode:characters_to_binary(Text).

names(Names) -> string:join([shown(N) || N <- Names], ", ").

%% As a person would write it in Elixir.
shown(Name) ->
    case atom_to_list(Name) of
        "Elixir." ++ Rest -> Rest;
        Text -> Text
    end.
