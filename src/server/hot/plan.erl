%% How a running release becomes another: read from the two releases' folders by the new one's own Erlang, in a sandbox.
%% Nothing of either release runs. What cannot be done in place is found here, before anything is touched.
-module(gigalixir_plan).
-export([main/1, environment/2, takes_config/2]).

%% `main(["OLD", "NEW", "OWN APPS", "OUT"])`: writes the plan as a term in external format.
main([Old_root, New_root, Own, Out]) ->
    {Old, New} = {gigalixir_release:read(Old_root), gigalixir_release:read(New_root)},
    Plan = plan(Old, New, [list_to_atom(App) || App <- string:lexemes(Own, ",")]),
    ok = file:write_file(Out, term_to_binary(Plan)).

plan(#{apps := Before} = Old, #{apps := After} = New, Own) ->
    Relup = shipped(Old, New),
    Upgraded = [{App, by(Relup, gigalixir_appup:of_app(maps:get(App, Before), maps:get(App, After)))}
                || App <- maps:get(order, New), maps:is_key(App, Before),
                   maps:get(vsn, maps:get(App, Before)) =/= maps:get(vsn, maps:get(App, After))],
    Refusals = gigalixir_refusals:of_releases(Old, New) ++ gigalixir_refusals:of_relup(Relup) ++
        [R || {App, Appup} <- Upgraded,
              R <- gigalixir_refusals:of_app(maps:get(App, Before), maps:get(App, After), Appup, lists:member(App, Own))],
    Known = #{from => vsn(Old), to => vsn(New), name => binary(maps:get(name, New)),
              refusals => Refusals, apps => apps(Old, New, Upgraded), notes => notes(Upgraded), scripts => undefined},
    case Refusals of
        [] -> with_scripts(Known, Old, New, Upgraded, Relup);
        _ -> Known
    end.

vsn(#{vsn := Vsn}) -> binary(Vsn).
term(Term) -> gigalixir_release:term(Term).
binary(Text) -> unicode:characters_to_binary(Text).

%% The relup that the release brings, as distillery and `systools:make_relup/3` make it: its author's word for every
%% application. `{Up, Down}`, `Down` undefined where it knows no way back; `none` if it is of other versions.
shipped(#{vsn := From}, #{folder := Folder}) ->
    case file:consult(filename:join(Folder, "relup")) of
        {ok, [{_, Ups, Downs}]} ->
            case {lists:keyfind(From, 1, Ups), lists:keyfind(From, 1, Downs)} of
                {{_, _, Up}, {_, _, Down}} -> {Up, Down};
                {{_, _, Up}, false} -> {Up, undefined};
                {false, _} -> none
            end;
        _ -> none
    end.

by(none, Appup) -> Appup;
by({Up, Down}, Appup) -> Appup#{kind := relup, up := Up, down := Down}.

%% The instructions, for both directions. `down` is empty where there is no way back.
with_scripts(Known, Old, New, Upgraded, Relup) ->
    Derived = [M || {_, #{kind := derived, modules := Modules}} <- Upgraded, #{module := M} <- Modules],
    case relup(Old, New, Upgraded, Relup) of
        {ok, Hard_up, Hard_down, Undoable} ->
            #{apps := Before} = Old,
            #{apps := After} = New,
            {Up, Down} = {soft(Hard_up, Derived), soft(Hard_down, Derived)},
            Known#{scripts => #{
                up => term(Up), down => term(Down), undoable => Undoable, erts => binary(maps:get(erts, New)),
                libs => term([{A, maps:get(vsn, maps:get(A, After))} || A <- maps:get(order, New)]),
                old_libs => term([{A, maps:get(vsn, maps:get(A, Before))} || A <- maps:get(order, Old)]),
                supervisors => lists:append([S || {_, #{supervisors := S}} <- Upgraded]),
                environment => term(environment(Old, New)), undo_environment => term(environment(New, Old))}};
        {error, Text} ->
            Known#{refusals => [#{what => appup, text => Text, fix => <<"correct the appup, or deploy it with a restart">>}]}
    end.

%% Modules that are added or deleted are purged by OTP with whoever still runs them; nobody dies for a derived appup.
soft(Script, Modules) ->
    [case Step of
         {purge, Purged} -> {purge, Purged -- Modules};
         {What, {Module, _, _}} when What =:= load; What =:= remove ->
             case lists:member(Module, Modules) of
                 true -> {What, {Module, soft_purge, soft_purge}};
                 false -> Step
             end;
         _ -> Step
     end || Step <- Script].

write_appup(#{vsn := From}, #{name := App, vsn := To, ebin := Ebin}, #{up := Up, down := Down}) ->
    Downs = [{From, Down} || Down =/= undefined],
    Term = {To, [{From, Up}], Downs},
    file:write_file(filename:join(Ebin, atom_to_list(App) ++ ".appup"), term(Term)).

%% OTP's own tool makes one script of all applications', in the order of their dependencies.
relup(_, _, _, {Up, undefined}) -> {ok, Up, [], false};
relup(_, _, _, {Up, Down}) -> {ok, Up, Down, true};
relup(#{apps := Before} = Old, #{apps := After} = New, Upgraded, none) ->
    [ok = write_appup(maps:get(App, Before), maps:get(App, After), Appup) || {App, Appup} <- Upgraded],
    #{rel := Old_rel, root := Old_root, vsn := From} = Old,
    #{rel := New_rel, root := New_root} = New,
    Undoable = lists:all(fun({_, #{down := Down}}) -> Down =/= undefined end, Upgraded),
    Paths = [filename:join([Root, "lib", "*", "ebin"]) || Root <- [New_root, Old_root]],
    Downs = [Old_rel || Undoable],
    case systools:make_relup(New_rel, [Old_rel], Downs, [{path, Paths}, silent, noexec]) of
        {ok, {_, [{From, _, Up}], Back}, _, _} ->
            {ok, Up, case Back of [{From, _, Down}] -> Down; [] -> [] end, Undoable};
        {error, Module, Error} -> {error, binary(Module:format_error(Error))}
    end.

%% `[{App, [{Key, Value}], [Key]}]`: what changes and what goes of the configuration of applications that both have.
environment(#{apps := Before} = Old, #{apps := After} = New) ->
    [{App, Changed, Removed}
     || App <- lists:sort(maps:keys(After)), maps:is_key(App, Before),
        {Was, Is} <- [{effective(App, Old), effective(App, New)}],
        Changed <- [[{K, V} || {K, V} <- lists:sort(maps:to_list(Is)), maps:find(K, Was) =/= {ok, V}]],
        Removed <- [lists:sort(maps:keys(maps:without(maps:keys(Is), Was)))],
        Changed =/= [] orelse Removed =/= []].

effective(App, #{apps := Apps, config := Config}) ->
    #{App := #{keys := Keys}} = Apps,
    maps:merge(maps:from_list(proplists:get_value(env, Keys, [])), maps:get(App, Config, #{})).

%% Whether an application is told when its configuration changes.
takes_config(App, #{apps := Apps}) ->
    #{App := #{keys := Keys, ebin := Ebin}} = Apps,
    case proplists:get_value(mod, Keys) of
        {Module, _} ->
            Beam = filename:join(Ebin, atom_to_list(Module) ++ ".beam"),
            {ok, {_, [{exports, Exports}]}} = beam_lib:chunks(Beam, [exports]),
            lists:member({config_change, 3}, Exports);
        _ -> false
    end.

%% For people: every application that differs.
apps(#{apps := Before}, #{apps := After}, Upgraded) ->
    Change = fun(App, From, To, Kind, Modules) ->
        #{name => App, from => From, to => To, appup => Kind,
          modules => [#{name => M, change => C, kind => K} || #{module := M, change := C, kind := K} <- Modules]}
    end,
    Vsn = fun(App, Apps) -> binary(maps:get(vsn, maps:get(App, Apps))) end,
    [Change(App, Vsn(App, Before), Vsn(App, After), Kind, Modules) || {App, #{kind := Kind, modules := Modules}} <- Upgraded]
        ++ [Change(App, undefined, Vsn(App, After), added, []) || App <- lists:sort(maps:keys(maps:without(maps:keys(Before), After)))]
        ++ [Change(App, Vsn(App, Before), undefined, removed, []) || App <- lists:sort(maps:keys(maps:without(maps:keys(After), Before)))].

%% What is no reason to refuse and still worth a look.
notes(Upgraded) ->
    [unicode:characters_to_binary(io_lib:format("~ts has no code_change of its own: its processes keep their state as it is", [M]))
     || {_, #{kind := derived, modules := Modules}} <- Upgraded,
        #{module := M, change := changed, kind := Kind, code_change := C} <- Modules,
        C =/= own, Kind =:= server orelse Kind =:= statem orelse Kind =:= event]
        ++ [unicode:characters_to_binary(io_lib:format("the ~s of ~ts knows no way back: should the upgrade fail, replicas are replaced",
                                                       [case Kind of relup -> relup; _ -> appup end, App]))
            || {App, #{kind := Kind, down := undefined}} <- Upgraded].
