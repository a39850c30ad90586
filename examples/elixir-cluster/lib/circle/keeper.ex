defmodule Circle.Keeper do
  @moduledoc """
  Keeps one counter for the whole circle: whichever node finds none starts it, all find it by its global name. The count
  goes with the node that it is on.
  """
  use GenServer

  @name {:global, :visits}

  def start_link(_), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Counts one more; tells how many it were and which node counts."
  def visit, do: GenServer.call(@name, :visit)

  @impl true
  def init(nil), do: {:ok, watch()}

  @impl true
  def handle_info({:DOWN, _, :process, _, _}, _), do: {:noreply, watch()}
  def handle_info(_, state), do: {:noreply, state}

  defp watch do
    case GenServer.start(Circle.Counter, 0, name: @name) do
      {:ok, counter} -> Process.monitor(counter)
      {:error, {:already_started, counter}} -> Process.monitor(counter)
    end
  end
end

defmodule Circle.Counter do
  @moduledoc "The counter itself."
  use GenServer

  @impl true
  def init(count), do: {:ok, count}

  @impl true
  def handle_call(:visit, _from, count), do: {:reply, {count + 1, Node.self()}, count + 1}
end
