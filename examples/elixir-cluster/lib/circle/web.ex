defmodule Circle.Web do
  @moduledoc "A little HTTP: one request a connection."
  use GenServer

  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)

  @impl true
  def init(port: port) do
    options = [:binary, packet: :http_bin, active: false, reuseaddr: true, backlog: 1024]
    {:ok, socket} = :gen_tcp.listen(port, options)
    IO.puts("#{Node.self()} listening on port #{port}")
    for _ <- 1..4, do: spawn_link(fn -> accept(socket) end)
    {:ok, socket}
  end

  defp accept(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    serve(socket)
    :gen_tcp.close(socket)
    accept(listener)
  end

  defp serve(socket) do
    with {:ok, {:http_request, _, {:abs_path, path}, _}} <- :gen_tcp.recv(socket, 0, 5_000), :ok <- skip(socket) do
      body = answer(path) <> "\n"
      head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: #{byte_size(body)}\r\nconnection: close\r\n\r\n"
      :gen_tcp.send(socket, head <> body)
    end
  end

  defp skip(socket) do
    case :gen_tcp.recv(socket, 0, 5_000) do
      {:ok, :http_eoh} -> :ok
      {:ok, _header} -> skip(socket)
      error -> error
    end
  end

  defp answer("/nodes"), do: [Node.self() | Node.list()] |> Enum.sort() |> Enum.join(" ")

  defp answer("/count") do
    {count, node} = Circle.Keeper.visit()
    "visit #{count}, counted on #{node}, asked on #{Node.self()}"
  end

  defp answer(_) do
    version = System.get_env("GIGALIXIR_RELEASE_VERSION", "?")
    "I am #{Node.self()}, release #{version}, and see #{length(Node.list())} other node(s). Try /nodes and /count."
  end
end
