%% Evaluated by the `erl` of this machine: connects to one node through a port here, whatever address is in the node's
%% name, and observes it. No epmd: this module stands in for it. Ends with 3 where there is no wx.
Say = fun(Format, Args) -> io:format(standard_error, Format, Args) end,
Node = list_to_atom(os:getenv("GIGALIXIR_OBSERVED_NODE")),
Wish = os:getenv("GIGALIXIR_OBSERVER_EVAL"),
case Wish =:= false andalso lists:member(non_existing, [code:which(wx), code:which(observer)]) of
    true -> halt(3);
    false -> ok
end,
Stand = "-module(gigalixir_tunnel). "
    "-export([start_link/0, register_node/2, register_node/3, listen_port_please/2, port_please/2, port_please/3, "
    "address_please/3, names/1]). "
    "start_link() -> ignore. register_node(_, _) -> {ok, 1}. register_node(_, _, _) -> {ok, 1}. "
    "listen_port_please(_, _) -> {ok, 0}. port_please(_, _) -> {port, " ++ os:getenv("GIGALIXIR_TUNNEL_PORT") ++ ", 6}. "
    "port_please(N, H, _) -> port_please(N, H). names(_) -> {error, address}. "
    "address_please(_, _, _) -> {ok, {127, 0, 0, 1}, " ++ os:getenv("GIGALIXIR_TUNNEL_PORT") ++ ", 6}. ",
{ok, Tokens, _} = erl_scan:string(Stand),
Split = fun Split([], _, Forms) -> lists:reverse(Forms);
            Split([{dot, _} = Dot | Rest], Form, Forms) ->
                {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
                Split(Rest, [], [Parsed | Forms]);
            Split([Token | Rest], Form, Forms) -> Split(Rest, [Token | Form], Forms)
        end,
{ok, gigalixir_tunnel, Binary} = compile:forms(Split(Tokens, [], [])),
{module, gigalixir_tunnel} = code:load_binary(gigalixir_tunnel, "gigalixir_tunnel.erl", Binary),
Own = list_to_atom("observer-" ++ os:getenv("GIGALIXIR_OBSERVER_NAME") ++ "@127.0.0.1"),
{ok, _} = net_kernel:start([Own, longnames]),
erlang:set_cookie(Node, list_to_atom(os:getenv("GIGALIXIR_OBSERVED_COOKIE"))),
case net_kernel:connect_node(Node) of
    true -> ok;
    _ -> Say("The connection to ~s failed.~n", [Node]), halt(1)
end,
Run = fun(Source) ->
    {ok, Words, _} = erl_scan:string(Source),
    {ok, Expressions} = erl_parse:parse_exprs(Words),
    case rpc:call(Node, erl_eval, exprs, [Expressions, []]) of
        {value, Value, _} -> io:format("~tp~n", [Value]), halt(0);
        {badrpc, Reason} -> Say("~tp~n", [Reason]), halt(1)
    end
end,
Watch = fun Watch() -> timer:sleep(500), case whereis(observer) of undefined -> halt(0); _ -> Watch() end end,
case Wish of
    false ->
        case lists:member({start, 1}, observer:module_info(exports)) of
            true -> observer:start(Node);
            false -> observer:start(), Say("Choose ~s in the menu Nodes.~n", [Node])
        end,
        timer:sleep(2000),
        Watch();
    Source -> Run(Source)
end.
