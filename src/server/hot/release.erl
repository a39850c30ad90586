%% What a release's folder says: read, not run. Of two releases, what differs.
-module(gigalixir_release).
-export([read/1, changed_modules/2, functions/1, behaviours/1, term/1]).

%% The release that `bin/NAME start` of this folder would boot.
read(Root) ->
    {ok, Data} = file:read_file(filename:join([Root, "releases", "start_erl.data"])),
    [Erts, Vsn] = string:lexemes(string:trim(binary_to_list(Data)), " "),
    Folder = filename:join([Root, "releases", Vsn]),
    [Rel] = filelib:wildcard(filename:join(Folder, "*.rel")),
    {ok, [{release, {Name, Vsn}, _, Apps}]} = file:consult(Rel),
    #{root => Root, name => Name, vsn => Vsn, erts => Erts, folder => Folder, rel => filename:rootname(Rel),
      apps => maps:from_list([{App, app(Root, App, V)} || {App, V} <- [{element(1, A), element(2, A)} || A <- Apps]]),
      order => [element(1, A) || A <- Apps],
      consolidated => digests(filename:join(Folder, "consolidated")),
      config => config(filename:join(Folder, "sys.config")),
      files => maps:from_list([{F, file:read_file(filename:join(Folder, F))}
                               || F <- ["vm.args", "env.sh", "runtime.exs"]])}.

app(Root, App, Vsn) ->
    Dir = filename:join([Root, "lib", atom_to_list(App) ++ "-" ++ Vsn]),
    Ebin = filename:join(Dir, "ebin"),
    {ok, [{application, App, Keys}]} = file:consult(filename:join(Ebin, atom_to_list(App) ++ ".app")),
    #{name => App, vsn => Vsn, dir => Dir, ebin => Ebin, keys => Keys,
      natives => natives(filename:join(Dir, "priv"))}.

%% Machine code by its place: drivers, NIFs, and the programs behind ports, of which one that runs stays as it is.
natives(Priv) ->
    maps:from_list([{F, erlang:md5(element(2, file:read_file(filename:join(Priv, F))))}
                    || F <- filelib:wildcard("**", Priv), is_native(F, filename:join(Priv, F))]).

is_native(Name, File) ->
    string:find(filename:basename(Name), ".so") =/= nomatch andalso filelib:is_regular(File) orelse is_elf(File).

is_elf(File) ->
    case filelib:is_regular(File) andalso file:open(File, [read, raw, binary]) of
        {ok, Handle} ->
            Begin = file:read(Handle, 4),
            ok = file:close(Handle),
            Begin =:= {ok, <<127, "ELF">>};
        _ -> false
    end.

digests(Ebin) ->
    maps:from_list([begin
        {ok, {Module, Md5}} = beam_lib:md5(filename:join(Ebin, F)),
        {Module, Md5}
    end || F <- filelib:wildcard("*.beam", Ebin)]).

%% `sys.config` as a map of maps. Mix's own reader of configuration at boot is in it as well; what it reads is compared
%% as a file.
config(File) ->
    case file:consult(File) of
        {ok, [Config]} ->
            maps:from_list([{App, maps:without([config_provider_init, config_provider_booted, config_provider_reboot_mode],
                                               maps:from_list(Env))}
                            || {App, Env} <- Config, is_atom(App), is_list(Env)]);
        _ -> #{}
    end.

%% `{Added, Changed, Deleted}` between two versions of an application; compiled code counts, not when it was compiled.
changed_modules(#{ebin := Old}, #{ebin := New}) ->
    {Before, After} = {digests(Old), digests(New)},
    Both = [M || M <- maps:keys(After), maps:is_key(M, Before)],
    {maps:keys(maps:without(Both, After)),
     [M || M <- Both, maps:get(M, Before) =/= maps:get(M, After)],
     maps:keys(maps:without(Both, Before))}.

behaviours(Beam) ->
    {ok, {_, [{attributes, Attributes}]}} = beam_lib:chunks(Beam, [attributes]),
    lists:append([Values || {Key, Values} <- Attributes, Key =:= behaviour orelse Key =:= behavior]).

%% `[{Name, Arity, Code}]` with what differs between two compilations of the same source taken out: lines and the
%% numbers of labels. `unreadable` where the release lacks what a disassembler needs: some are stripped too far.
functions(Beam) ->
    try beam_disasm:file(Beam) of
        {beam_file, _, _, _, _, Functions} -> [{N, A, plain(Code)} || {function, N, A, _, Code} <- Functions]
    catch
        _:_ -> unreadable
    end.

plain(Code) ->
    Labels = [L || {label, L} <- Code],
    Numbers = maps:from_list(lists:zip(Labels, lists:seq(1, length(Labels)))),
    [relabel(I, Numbers) || I <- Code, not is_line(I)].

is_line({line, _}) -> true;
is_line(_) -> false.

relabel({label, L}, Numbers) -> {label, maps:get(L, Numbers)};
relabel({f, L}, Numbers) -> {f, maps:get(L, Numbers, L)};
relabel(Tuple, Numbers) when is_tuple(Tuple) -> list_to_tuple(relabel(tuple_to_list(Tuple), Numbers));
relabel([Head | Tail], Numbers) -> [relabel(Head, Numbers) | relabel(Tail, Numbers)];
relabel(Other, _) -> Other.

%% Text that `erl_parse` reads back.
term(Term) ->
    unicode:characters_to_binary(io_lib:format("~0tp.", [Term])).
