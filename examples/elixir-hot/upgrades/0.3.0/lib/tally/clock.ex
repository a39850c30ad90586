defmodule Tally.Clock do
  @moduledoc "A process that earlier versions do not have: knows since when it runs."
  use GenServer

  def start_link(_), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc "Milliseconds since it was started."
  def age, do: GenServer.call(__MODULE__, :age)

  @impl true
  def init(_), do: {:ok, System.monotonic_time(:millisecond)}

  @impl true
  def handle_call(:age, _from, begin), do: {:reply, System.monotonic_time(:millisecond) - begin, begin}
end
