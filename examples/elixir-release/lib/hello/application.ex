defmodule Hello.Application do
  @moduledoc false
  use Application

  # Stopped in the opposite order: first nobody is let in any more, then those inside are served to the end.
  @impl true
  def start(_type, _args) do
    children = [
      Hello.Counter,
      {Task.Supervisor, name: Hello.Connections},
      {Hello.Listener, port: String.to_integer(System.get_env("PORT", "4000"))}
    ]

    Supervisor.start_link(children, strategy: :one_for_one)
  end
end
