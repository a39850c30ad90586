defmodule Hello.Counter do
  @moduledoc "Counts visits, for as long as this replica lives."
  use GenServer

  def start_link(_), do: GenServer.start_link(__MODULE__, 0, name: __MODULE__)

  @doc "Counts one more and returns how many it were."
  def visit, do: GenServer.call(__MODULE__, :visit)

  @impl true
  def init(count), do: {:ok, count}

  @impl true
  def handle_call(:visit, _from, count), do: {:reply, count + 1, count + 1}
end
