defmodule Tally.Application do
  @moduledoc false
  use Application

  # `start/2` is not run again in a hot upgrade. All it does is start one supervisor that is a module of its own: that
  # one's `init/1` is run again, so what it supervises can change.
  @impl true
  def start(_type, _args), do: Tally.Supervisor.start_link([])
end
