defmodule Tally.Counter do
  @moduledoc "Counts, for as long as this replica lives. Version 0.1.0: the state is a number."
  use GenServer

  def start_link(_), do: GenServer.start_link(__MODULE__, 0, name: __MODULE__)

  @doc "Counts one more and tells how many it were."
  def more, do: GenServer.call(__MODULE__, :more)

  @doc "What there is to say."
  def report, do: GenServer.call(__MODULE__, :report)

  @impl true
  def init(count), do: {:ok, count}

  @impl true
  def handle_call(:more, _from, count), do: {:reply, "#{count + 1}", count + 1}
  def handle_call(:report, _from, count), do: {:reply, "#{count} counted", count}
end
