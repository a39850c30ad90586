%% What the node knows of itself, evaluated in it by erl_eval: OTP only, reads only. `Sort`, `Limit` and `Tree` are given.
(fun() ->
    Safe = fun(F, Else) -> try F() catch _:_ -> Else end end,
    Text = fun(T) -> unicode:characters_to_binary(io_lib:format("~0tp", [T])) end,
    Top = fun(Key, Rows) -> lists:sublist(lists:reverse(lists:keysort(Key, Rows)), Limit) end,
    Info = fun(What) -> Safe(fun() -> erlang:system_info(What) end, undefined) end,
    Word = erlang:system_info(wordsize),

    Key = case Sort of reductions -> 3; queue -> 4; _ -> 2 end,
    All = [{P, M, R, Q} || P <- erlang:processes(),
             [{memory, M}, {reductions, R}, {message_queue_len, Q}]
               <- [erlang:process_info(P, [memory, reductions, message_queue_len])]],
    Called = fun(P, Name) ->
        case Name of
            [] -> Text(Safe(fun() -> proc_lib:translate_initial_call(P) end, undefined));
            _ -> Text(Name)
        end
    end,
    Processes = [#{pid => Text(P), name => Called(P, Name), memory => M, reductions => R, queue => Q,
                   current => Text(Current), status => Status}
                 || {P, M, R, Q} <- Top(Key, All),
                    [{registered_name, Name}, {current_function, Current}, {status, Status}]
                      <- [erlang:process_info(P, [registered_name, current_function, status])]],

    Table = fun(T) ->
        Of = fun(What) -> ets:info(T, What) end,
        {T, Of(memory), Of(name), Of(size), Of(owner), Of(type), Of(protection)}
    end,
    Tables = [#{name => Text(Name), size => Size, memory => Memory * Word, owner => Text(Owner), type => Type,
                protection => Protection}
              || {_, Memory, Name, Size, Owner, Type, Protection} <- Top(2, [Table(T) || T <- ets:all()]),
                 is_integer(Memory), is_integer(Size)],

    PortOf = fun(P, I) -> {P, proplists:get_value(input, I, 0) + proplists:get_value(output, I, 0), I} end,
    Ports = [#{port => Text(P), name => unicode:characters_to_binary(proplists:get_value(name, I, "")),
               owner => Text(proplists:get_value(connected, I)),
               input => proplists:get_value(input, I, 0), output => proplists:get_value(output, I, 0)}
             || {P, _, I} <- Top(2, [PortOf(P, I) || P <- erlang:ports(), I <- [erlang:port_info(P)], is_list(I)])],

    Applications = [#{name => App, version => unicode:characters_to_binary(Version),
                      description => unicode:characters_to_binary(Description)}
                    || {App, Description, Version}
                         <- Safe(fun() -> lists:sort(application:which_applications(1000)) end, [])],

    Children = fun(Pid) -> Safe(fun() -> gen_server:call(Pid, which_children, 1000) end, []) end,
    Branch = fun Branch(Name, Pid, Type, Depth) ->
        Row = #{name => Text(Name), pid => Text(Pid), type => Type, depth => Depth},
        Below = case {Type, is_pid(Pid), Depth < 16} of
            {supervisor, true, true} -> lists:sublist(Children(Pid), Limit);
            _ -> []
        end,
        [Row | lists:flatmap(fun({N, P, T, _}) -> Branch(N, P, T, Depth + 1) end, lists:reverse(Below))]
    end,
    Branches = Safe(fun() ->
        {Root, Module} = application_master:get_child(application_controller:get_master(binary_to_existing_atom(Tree, utf8))),
        lists:sublist(Branch(Module, Root, supervisor, 0), 1000)
    end, []),

    {{input, In}, {output, Out}} = erlang:statistics(io),
    {Uptime, _} = erlang:statistics(wall_clock),
    {Reductions, _} = erlang:statistics(reductions),
    #{node => node(), processes => Processes, tables => Tables, ports => Ports, applications => Applications,
      tree => Branches,
      system => #{otp => unicode:characters_to_binary(erlang:system_info(otp_release)),
                  erts => unicode:characters_to_binary(erlang:system_info(version)),
                  schedulers => erlang:system_info(schedulers_online), run_queue => erlang:statistics(run_queue),
                  uptime_ms => Uptime, input => In, output => Out, reductions => Reductions,
                  memory => maps:from_list(erlang:memory()),
                  processes => length(All), processes_max => Info(process_limit),
                  ports => Info(port_count), ports_max => Info(port_limit),
                  atoms => Info(atom_count), atoms_max => Info(atom_limit),
                  tables => length(ets:all()), tables_max => Info(ets_limit),
                  sees => nodes()}}
end)().
