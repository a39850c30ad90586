defmodule Tally.Counter do
  @moduledoc "Counts, for as long as this replica lives. Version 0.2.0: the state is a map that knows how many it took over."
  use GenServer

  def start_link(_), do: GenServer.start_link(__MODULE__, 0, name: __MODULE__)

  @doc "Counts one more and tells how many it were."
  def more, do: GenServer.call(__MODULE__, :more)

  @doc "What there is to say."
  def report, do: GenServer.call(__MODULE__, :report)

  @impl true
  def init(count), do: {:ok, %{count: count, begun_with: count}}

  @impl true
  def handle_call(:more, _from, state) do
    state = %{state | count: state.count + 1}
    {:reply, "#{state.count}", state}
  end

  def handle_call(:report, _from, state) do
    {:reply, "#{state.count} counted, #{state.count - state.begun_with} of them by this version", state}
  end

  # From 0.1.0, and the way back to it.
  @impl true
  def code_change({:down, _}, %{count: count}, _extra), do: {:ok, count}
  def code_change(_, count, _extra) when is_integer(count), do: {:ok, %{count: count, begun_with: count}}
  def code_change(_, state, _extra), do: {:ok, state}
end
