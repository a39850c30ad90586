%% An application's upgrade: its own appup where it has one for these two versions, else one derived from its modules.
-module(gigalixir_appup).
-export([of_app/2]).

%% `#{kind, up, down, modules, supervisors}`; the two instruction lists as in an appup.
of_app(#{name := App, vsn := From} = Old, #{vsn := To} = New) ->
    Modules = modules(Old, New),
    Supervisors = [M || #{module := M, kind := supervisor, change := changed} <- Modules],
    Derived = #{kind => derived, modules => Modules, supervisors => Supervisors},
    case own(App, From, To, New) of
        {Up, Down} -> Derived#{kind := own, up => Up, down => Down};
        none -> Derived#{up => instructions(Modules), down => instructions(reversed(Modules))}
    end.

own(App, From, To, #{dir := Dir}) ->
    Name = atom_to_list(App) ++ ".appup",
    Found = [Terms || Place <- ["ebin", "priv"],
                      {ok, [Terms]} <- [file:consult(filename:join([Dir, Place, Name]))]],
    case Found of
        [{Vsn, Ups, Downs} | _] when Vsn =:= To ->
            case {match(From, Ups), match(From, Downs)} of
                {{ok, Up}, {ok, Down}} -> {Up, Down};
                {{ok, Up}, none} -> {Up, undefined};
                _ -> none
            end;
        _ -> none
    end.

match(Vsn, [{Pattern, Instructions} | Rest]) when is_binary(Pattern) ->
    case re:run(Vsn, Pattern, [{capture, first, list}]) of
        {match, [Vsn]} -> {ok, Instructions};
        _ -> match(Vsn, Rest)
    end;
match(Vsn, [{Vsn, Instructions} | _]) -> {ok, Instructions};
match(Vsn, [_ | Rest]) -> match(Vsn, Rest);
match(_, []) -> none.

%% Each module that differs: `#{module, change, kind, code_change, needs, native}`.
modules(Old, New) ->
    {Added, Changed, Deleted} = gigalixir_release:changed_modules(Old, New),
    [facts(added, M, beam(New, M), []) || M <- Added]
        ++ [facts(changed, M, beam(New, M), Changed) || M <- Changed]
        ++ [facts(deleted, M, beam(Old, M), []) || M <- Deleted].

beam(#{ebin := Ebin}, Module) -> filename:join(Ebin, atom_to_list(Module) ++ ".beam").

%% `needs` are the changed modules that it calls: they are loaded before it.
facts(Change, Module, Beam, Others) ->
    {ok, {_, [{imports, Imports}, {exports, Exports}]}} = beam_lib:chunks(Beam, [imports, exports]),
    Kind = kind(gigalixir_release:behaviours(Beam)),
    #{module => Module, change => Change, kind => Kind, code_change => code_change(Kind, Beam, Exports),
      needs => lists:usort([M || {M, _, _} <- Imports, M =/= Module, lists:member(M, Others)]),
      native => lists:member({erlang, load_nif, 2}, Imports)}.

kind(Behaviours) ->
    Kinds = [{supervisor, supervisor}, {'Elixir.Supervisor', supervisor}, {'Elixir.DynamicSupervisor', supervisor},
             {gen_server, server}, {'Elixir.GenServer', server}, {gen_event, event}, {gen_statem, statem},
             {gen_fsm, statem}, {'Elixir.GenStage', server}, {application, application},
             {'Elixir.Application', application}],
    case [Kind || {Behaviour, Kind} <- Kinds, lists:member(Behaviour, Behaviours)] of
        [Kind | _] -> Kind;
        [] -> code
    end.

%% `none`, `default` (the one that `use GenServer` writes: the state stays as it is), or `own` as far as can be known.
code_change(Kind, Beam, Exports) when Kind =:= server; Kind =:= event; Kind =:= statem ->
    Arity = case Kind of statem -> 4; _ -> 3 end,
    Code = case gigalixir_release:functions(Beam) of
        unreadable -> [];
        Functions -> [I || {code_change, A, Is} <- Functions, A =:= Arity, I <- Is]
    end,
    case {lists:member({code_change, Arity}, Exports), Code} of
        {false, _} -> none;
        {true, [{label, _}, _, {label, _}, {put_tuple2, {x, 0}, {list, [{atom, ok}, {x, 1} | _]}}, return]} -> default;
        {true, _} -> own
    end;
code_change(_, _, _) -> none.

reversed(Modules) ->
    Opposite = #{added => deleted, changed => changed, deleted => added},
    [Facts#{change := maps:get(Change, Opposite)} || #{change := Change} = Facts <- Modules].

%% As OTP wants it: what is new is there before whoever calls it, what is gone goes last. Nothing that still runs in a
%% module's code of two versions ago is killed for it: then the upgrade is refused instead.
instructions(Modules) ->
    [instruction(F) || #{change := added} = F <- Modules] ++
        [instruction(F) || #{change := changed} = F <- Modules] ++
        [instruction(F) || #{change := deleted} = F <- Modules].

instruction(#{change := added, module := M}) -> {add_module, M, []};
instruction(#{change := deleted, module := M}) -> {delete_module, M, []};
instruction(#{kind := supervisor, module := M}) ->
    {update, M, static, default, {advanced, []}, soft_purge, soft_purge, []};
instruction(#{code_change := none, kind := Kind, module := M, needs := Needs})
  when Kind =:= server; Kind =:= event; Kind =:= statem ->
    {update, M, soft, soft_purge, soft_purge, Needs};
instruction(#{kind := Kind, module := M, needs := Needs})
  when Kind =:= server; Kind =:= event; Kind =:= statem ->
    {update, M, {advanced, []}, soft_purge, soft_purge, Needs};
instruction(#{module := M, needs := Needs}) ->
    {load_module, M, soft_purge, soft_purge, Needs}.
