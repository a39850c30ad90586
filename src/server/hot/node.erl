%% What changes a running node, compiled once and loaded into each node for as long as its upgrade takes. The work is
%% OTP's release handler's; here is what that does for embedded systems only: configuration that was not read from a
%% file, supervisors' new children, and the question whether all is well afterwards.
-module(gigalixir_node).
-export([at/1, broken/1, ready/1, change/1, look/1, finish/1, foresee/1, configure/1]).
-export([mark/1, settle/1, log/2]).

%% Which applications are not at the version that `libs` says.
at(#{libs := Libs}) ->
    [text("~s is at ~s and not at ~s", [App, Vsn, Wanted])
     || {App, Wanted} <- term(Libs), {A, _, Vsn} <- application:loaded_applications(), A =:= App, Vsn =/= Wanted].

%% Whether a change stopped halfway, here or with the server that asked for it. One that is under way is waited for.
broken(_) ->
    case whereis(gigalixir_change) of
        undefined -> application:get_env(kernel, gigalixir_change) =/= undefined;
        Pid ->
            Monitor = monitor(process, Pid),
            receive {'DOWN', Monitor, _, _, _} -> broken([]) after 60_000 -> true end
    end.

%% What would stop a change: `#{other, held}`. `other`: applications at another version than the plan begins with. `held`:
%% modules of which a process still runs the code of two versions ago; loading a third one kills it.
ready(#{script := Script, old_libs := Libs}) ->
    #{other => at(#{libs => Libs}),
      held => [text("~ts (~b)", [shown(M), length(Holders)])
               || M <- loaded(term(Script)), erlang:check_old_code(M),
                  Holders <- [[P || P <- processes(), erlang:check_process_code(P, M) =:= true]], Holders =/= []]}.

%% From one version to another. `outcome` is `changed`; `refused`: nothing was done; `broken`: it stopped halfway, and
%% the node has to go.
change(#{script := Text, libs := Libs, supervisors := Supervisors, environment := Environment} = Wish) ->
    register(gigalixir_change, self()),
    application:set_env(kernel, gigalixir_change, begun),
    watch(loaded(term(Text))),
    Dirs = [{App, Vsn, dir(App, Vsn)} || {App, Vsn} <- term(Libs)],
    Specs = [Spec || {App, Vsn, Dir} <- Dirs, application:get_key(App, vsn) =/= {ok, Vsn},
                     {ok, [Spec]} <- [file:consult(filename:join([Dir, "ebin", atom_to_list(App) ++ ".app"]))]],
    Moved = [D || {App, _, _} = D <- Dirs, lists:keymember(App, 2, Specs)],
    put(gigalixir_children, [{Pid, ids(Pid)} || M <- Supervisors, Pid <- supervisors(M)]),
    Begin = erlang:monotonic_time(microsecond),
    Options = [{suspend_timeout, 10_000}, {code_change_timeout, 30_000}],
    case release_handler_1:eval_script(marked(term(Text), Supervisors), [], Dirs, Moved, Options) of
        {ok, _} ->
            Env = [{App, application:get_all_env(App)} || {application, App, _} <- Specs],
            application_controller:change_application_data(Specs, Env),
            consolidated(Wish),
            told(provided(term(Environment), Wish)),
            Took = erlang:monotonic_time(microsecond) - Begin,
            gigalixir_watch ! {see, self()},
            receive gigalixir_seen -> ok after 5000 -> ok end,
            application:unset_env(kernel, gigalixir_change),
            #{outcome => changed, took_us => Took, pause_us => pause()};
        {error, Why} ->
            application:unset_env(kernel, gigalixir_change),
            #{outcome => refused, why => why(Why)};
        Why -> #{outcome => broken, why => why(Why)}
    end.

why({'EXIT', {code_change_failed, _, Module, _, {'EXIT', {Why, _}}}}) ->
    text("the code_change of ~ts failed (~0tP): its processes cannot take their state to the new code", [shown(Module), Why, 15]);
why({'EXIT', {code_change_failed, _, Module, _, Why}}) ->
    text("the code_change of ~ts failed: ~0tP", [shown(Module), Why, 15]);
why({old_processes, Module}) ->
    text("processes still run code of ~ts of two versions ago (a loop that calls itself by its full name would not)", [shown(Module)]);
why({'EXIT', Why}) -> text("~0tP", [Why, 30]);
why(Why) -> text("~0tP", [Why, 30]).

%% How it is afterwards: empty lists if all is well.
look(#{libs := Libs} = Wish) ->
    Running = [App || {App, _, _} <- application:which_applications(5000)],
    gigalixir_watch ! {tell, self()},
    {Crashes, Children} = receive {gigalixir_watch, Told} -> Told after 5000 -> {[<<"the node is too busy to say how it is">>], []} end,
    #{other => at(Wish),
      stopped => [text("~s does not run", [App]) || {App, _} <- term(Libs), has_processes(App), not lists:member(App, Running)],
      crashed => Crashes,
      restarted => [text("~0tp was restarted by its supervisor", [Id])
                    || {Sup, Id, Pid} <- Children, {S, I, Now} <- children(), S =:= Sup, I =:= Id, Now =/= Pid, Now =/= undefined]}.

%% Lets go of what the other version left: its code where nobody runs it, its files, and what watches.
finish(#{libs := Libs, vsn := Vsn, erts := Erts}) ->
    Root = root(),
    _ = logger:remove_handler(gigalixir_node),
    case whereis(gigalixir_watch) of undefined -> ok; Pid -> exit(Pid, kill) end,
    [code:soft_purge(M) || {App, _} <- term(Libs), {ok, Modules} <- [application:get_key(App, modules)],
                           M <- Modules, erlang:check_old_code(M)],
    ok = file:write_file(filename:join([Root, "releases", "start_erl.data"]), [Erts, $\s, Vsn]),
    Keep = [atom_to_list(App) ++ "-" ++ V || {App, V} <- term(Libs)],
    [file:del_dir_r(filename:join([Root, "lib", D])) || {ok, All} <- [file:list_dir(filename:join(Root, "lib"))], D <- All -- Keep,
                                                        is_version(D, Libs)],
    [file:del_dir_r(F) || F <- filelib:wildcard(filename:join([Root, "releases", "*"])), filelib:is_dir(F),
                          filename:basename(F) =/= unicode:characters_to_list(Vsn)],
    ok.

is_version(Folder, Libs) ->
    lists:any(fun({App, _}) -> lists:prefix(atom_to_list(App) ++ "-", Folder) end, term(Libs)).

%% Marks what the pause begins and ends with: the process that evaluates the script remembers it.
mark(Which) -> put({gigalixir_mark, Which}, erlang:monotonic_time(microsecond)).

pause() ->
    case {get({gigalixir_mark, 'begin'}), get({gigalixir_mark, 'end'})} of
        {Begin, End} when is_integer(Begin), is_integer(End) -> End - Begin;
        _ -> 0
    end.

%% The script with the marks, and with the step that OTP leaves to the appup's author: new children are started, those
%% that are no longer wished are ended, before the code of either goes.
marked(Script, Supervisors) ->
    Settled = case Supervisors of
        [] -> Script;
        _ ->
            {Head, Tail} = lists:splitwith(fun({remove, _}) -> false; (_) -> true end, Script),
            Head ++ [{apply, {gigalixir_node, settle, [Supervisors]}}] ++ Tail
    end,
    {Before, After} = lists:splitwith(fun({suspend, _}) -> false; (_) -> true end, Settled),
    case After of
        [] -> Settled;
        _ ->
            {Last, Rest} = lists:splitwith(fun({resume, _}) -> false; (_) -> true end, lists:reverse(After)),
            Before ++ [{apply, {gigalixir_node, mark, ['begin']}}] ++ lists:reverse(Rest)
                ++ [{apply, {gigalixir_node, mark, ['end']}}] ++ lists:reverse(Last)
    end.

settle(Modules) ->
    Before = get(gigalixir_children),
    [settle(M, Pid, proplists:get_value(Pid, Before, [])) || M <- Modules, Pid <- supervisors(M)],
    ok.

settle(Module, Supervisor, Before) ->
    State = sys:get_state(Supervisor),
    case Module:init(element(tuple_size(State), State)) of
        {ok, {_, Specs}} when is_list(Specs) ->
            Wanted = [id(Spec) || Spec <- Specs],
            [begin
                ok = supervisor:terminate_child(Supervisor, Id),
                ok = supervisor:delete_child(Supervisor, Id)
             end || Id <- Before, not lists:member(Id, Wanted)],
            [case supervisor:restart_child(Supervisor, Id) of
                {error, Why} when Why =/= running -> exit({new_child, Id, Why});
                _ -> ok
             end || Id <- Wanted, not lists:member(Id, Before)];
        _ -> ok
    end.

id(#{id := Id}) -> Id;
id(Spec) when is_tuple(Spec) -> element(1, Spec).

ids(Supervisor) -> [Id || {Id, _, _, _} <- supervisor:which_children(Supervisor)].

supervisors(Module) ->
    lists:usort([Pid || {_, _, Pid, Modules} <- release_handler_1:get_supervised_procs(),
                        is_list(Modules), lists:member(Module, Modules), is_pid(Pid), has_children(Pid)]).

has_children(Pid) ->
    try ids(Pid), true catch _:_ -> false end.

%% Which protocols are on the path first goes with the release.
consolidated(#{vsn := Vsn}) ->
    New = filename:join([root(), "releases", Vsn, "consolidated"]),
    [begin
        code:add_patha(unicode:characters_to_list(New)),
        code:del_path(Old)
     end || Old <- code:get_path(), filename:basename(Old) =:= "consolidated",
            unicode:characters_to_binary(Old) =/= unicode:characters_to_binary(New)].

%% What other variables would make of the configuration: the release's providers (config/runtime.exs) are run with them.
%% `environment` is for `configure`; `refused` are the applications that would not be told. The variables are as they
%% were afterwards.
foresee(#{variables := Set, unset := Unset}) ->
    Before = [{Name, os:getenv(Name)} || Name <- [list(N) || N <- maps:keys(Set) ++ Unset]],
    {ok, Data} = file:read_file(filename:join([root(), "releases", "start_erl.data"])),
    [_, Vsn] = string:lexemes(string:trim(list(Data)), " "),
    Old = configuration(Vsn),
    New = try variables(Set, Unset), configuration(Vsn)
          after [case V of false -> os:unsetenv(N); _ -> os:putenv(N, V) end || {N, V} <- Before] end,
    Environment = [{App, Changed, Removed}
                   || App <- lists:usort(maps:keys(Old) ++ maps:keys(New)), loads(App),
                      {Was, Is} <- [{maps:get(App, Old, #{}), maps:get(App, New, #{})}],
                      Changed <- [[{K, V} || {K, V} <- maps:to_list(Is), maps:find(K, Was) =/= {ok, V}]],
                      Removed <- [maps:keys(maps:without(maps:keys(Is), Was))], Changed =/= [] orelse Removed =/= []],
    #{environment => text("~0tp.", [Environment]),
      refused => [text("~s (~ts)", [App, lists:join(", ", [shown(K) || K <- [K || {K, _} <- Changed] ++ Removed])])
                  || {App, Changed, Removed} <- Environment, not is_told(App)]}.

%% What changes of the configuration, with the providers' word over that of `sys.config`.
provided([], _) -> [];
provided(Environment, #{vsn := Vsn}) ->
    Config = configuration(Vsn),
    [{App, [{K, maps:get(K, Said, V)} || {K, V} <- Changed], [K || K <- Removed, not is_map_key(K, Said)]}
     || {App, Changed, Removed} <- Environment, Said <- [maps:get(App, Config, #{})]].

%% What a release's `sys.config` and its providers say now, as a map of maps.
configuration(Vsn) ->
    {ok, [Base]} = file:consult(filename:join([root(), "releases", Vsn, "sys.config"])),
    Elixir = proplists:get_value(elixir, Base, []),
    Config = case lists:keyfind(config_provider_init, 1, Elixir) of
        {_, #{providers := Providers}} -> lists:foldl(fun({Module, State}, Config) -> Module:load(Config, State) end, Base, Providers);
        _ -> Base
    end,
    maps:from_list([{App, maps:without([config_provider_init], maps:from_list(Env))} || {App, Env} <- Config, is_list(Env)]).

is_told(App) ->
    case application:get_key(App, mod) of
        {ok, {Module, _}} -> erlang:function_exported(Module, config_change, 3);
        _ -> false
    end.

loads(App) -> lists:keymember(App, 1, application:loaded_applications()).

variables(Set, Unset) ->
    [os:putenv(list(Name), list(Value)) || {Name, Value} <- maps:to_list(Set)],
    [os:unsetenv(list(Name)) || Name <- Unset].

list(Text) -> unicode:characters_to_list(Text).

%% Environment variables and applications' configuration, and the applications told of it.
configure(#{environment := Environment, variables := Set, unset := Unset}) ->
    variables(Set, Unset),
    told(term(Environment)),
    ok.

told(Environment) ->
    [begin
        New = [C || {K, _} = C <- Changed, application:get_env(App, K) =:= undefined],
        [application:set_env(App, K, V) || {K, V} <- Changed],
        [application:unset_env(App, K) || K <- Removed],
        case is_told(App) of
            true ->
                {ok, {Module, _}} = application:get_key(App, mod),
                Module:config_change(Changed -- New, New, Removed);
            false -> ok
        end
     end || {App, Changed, Removed} <- Environment].

%% Keeps what crashes that has to do with what changed, and which children there are, until it is asked.
watch(Modules) ->
    Names = [atom_to_list(M) || M <- Modules],
    Watch = spawn(fun() -> watching([], []) end),
    catch unregister(gigalixir_watch),
    register(gigalixir_watch, Watch),
    _ = logger:remove_handler(gigalixir_node),
    ok = logger:add_handler(gigalixir_node, gigalixir_node, #{level => error, config => #{watch => Watch, names => Names}}).

watching(Crashes, Children) ->
    receive
        {crash, Text} when length(Crashes) < 20 -> watching([Text | Crashes], Children);
        {see, Asker} ->
            Children_now = children(),
            Asker ! gigalixir_seen,
            watching(Crashes, Children_now);
        {tell, Asker} ->
            Asker ! {gigalixir_watch, {lists:reverse(Crashes), Children}},
            watching(Crashes, Children);
        _ -> watching(Crashes, Children)
    end.

%% A logger's handler.
log(#{msg := Message, meta := Meta}, #{config := #{watch := Watch, names := Names}}) ->
    Crash = case Message of
        {report, #{label := {_, Label}}} -> lists:member(Label, [crash, terminate, child_terminated, start_error]);
        _ -> is_map_key(crash_reason, Meta) orelse is_map_key(error_logger, Meta)
    end,
    Text = unicode:characters_to_list(io_lib:format("~0tP", [case Message of {report, R} -> R; {string, S} -> S; {_, A} -> A end, 200])),
    case Crash andalso lists:any(fun(Name) -> string:find(Text, Name) =/= nomatch end, Names) of
        true -> Watch ! {crash, unicode:characters_to_binary(string:slice(Text, 0, 1000))};
        false -> ok
    end.

%% Every named child of every supervisor.
children() ->
    Roots = [Root || {App, _, _} <- application:which_applications(5000),
                     Master <- [application_controller:get_master(App)], is_pid(Master),
                     {Root, _} <- [application_master:get_child(Master)], is_pid(Root)],
    lists:append([below(Root) || Root <- Roots]).

below(Supervisor) ->
    Children = try supervisor:which_children(Supervisor) catch _:_ -> [] end,
    [{Supervisor, Id, Pid} || {Id, Pid, _, _} <- Children, Id =/= undefined] ++
        lists:append([below(Pid) || {_, Pid, supervisor, _} <- Children, is_pid(Pid)]).

has_processes(App) ->
    case application:get_key(App, mod) of {ok, {_, _}} -> true; _ -> false end.

loaded(Script) -> [M || {Step, {M, _, _}} <- Script, Step =:= load orelse Step =:= remove].

%% The release's folder: where Elixir's own application is, or in a release without it, Erlang's.
root() ->
    case code:lib_dir(elixir) of
        {error, bad_name} -> code:root_dir();
        Dir -> filename:dirname(filename:dirname(Dir))
    end.

dir(App, Vsn) -> filename:join([root(), "lib", atom_to_list(App) ++ "-" ++ Vsn]).

term(Text) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text)),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

text(Format, Arguments) -> unicode:characters_to_binary(io_lib:format(Format, Arguments)).

shown(Name) ->
    case atom_to_list(Name) of
        "Elixir." ++ Rest -> Rest;
        Text -> Text
    end.
