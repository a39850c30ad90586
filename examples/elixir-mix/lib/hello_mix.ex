defmodule HelloMix do
  @moduledoc "Serves one page with the HTTP server that comes with Erlang."
  use Application

  @impl true
  def start(_type, _args) do
    port = String.to_integer(System.get_env("PORT", "4000"))
    children = [%{id: :http, start: {HelloMix.Page, :start_link, [port]}, type: :supervisor}]
    Supervisor.start_link(children, strategy: :one_for_one)
  end
end
