defmodule Tally.Listener do
  @moduledoc "Accepts connections; each is served by a task of its own."
  use GenServer

  @acceptors 4

  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)

  @impl true
  def init(port: port) do
    options = [:binary, packet: :http_bin, active: false, reuseaddr: true, backlog: 1024, nodelay: true]
    {:ok, socket} = :gen_tcp.listen(port, options)
    IO.puts("listening on port #{port}")
    for _ <- 1..@acceptors, do: spawn_link(fn -> accept(socket) end)
    {:ok, socket}
  end

  defp accept(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    {:ok, task} = Task.Supervisor.start_child(Tally.Connections, Tally.Connection, :serve, [], shutdown: 10_000)
    :ok = :gen_tcp.controlling_process(socket, task)
    send(task, {:socket, socket})
    accept(listener)
  end
end
