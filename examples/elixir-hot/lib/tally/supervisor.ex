defmodule Tally.Supervisor do
  @moduledoc false
  use Supervisor

  def start_link(options), do: Supervisor.start_link(__MODULE__, options, name: __MODULE__)

  @impl true
  def init(_options) do
    children = [
      Tally.Counter,
      {Task.Supervisor, name: Tally.Connections},
      {Tally.Listener, port: String.to_integer(System.get_env("PORT", "4000"))}
    ]

    Supervisor.init(children, strategy: :one_for_one)
  end
end
