defmodule Circle.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    children = [
      Circle.Friends,
      Circle.Keeper,
      {Circle.Web, port: String.to_integer(System.get_env("PORT", "4000"))}
    ]

    Supervisor.start_link(children, strategy: :one_for_one)
  end
end
