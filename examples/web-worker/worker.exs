# The `worker` process: no port, it works through what there is to do and says so in the log.
defmodule Worker do
  def run(count \\ 1) do
    IO.puts("worker did job #{count}")
    Process.sleep(5_000)
    run(count + 1)
  end
end

IO.puts("worker started")
Worker.run()
