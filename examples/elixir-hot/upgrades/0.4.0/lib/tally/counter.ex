defmodule Tally.Counter do
  @moduledoc "Version 0.4.0 is deliberately bad: it does not understand the state that it is given."
  use GenServer

  def start_link(_), do: GenServer.start_link(__MODULE__, 0, name: __MODULE__)

  @doc "Counts one more and tells how many it were."
  def more, do: GenServer.call(__MODULE__, :more)

  @doc "What there is to say."
  def report, do: GenServer.call(__MODULE__, :report)

  @impl true
  def init(count), do: {:ok, {count}}

  @impl true
  def handle_call(:more, _from, {count}), do: {:reply, "#{count + 1}", {count + 1}}
  def handle_call(:report, _from, {count}), do: {:reply, "#{count} counted", {count}}

  @impl true
  def code_change(_, count, _extra) when is_integer(count), do: {:ok, {count}}
end
