defmodule Hello.Connection do
  @moduledoc """
  One HTTP/1.1 connection, kept alive between requests. When the app stops, a request that has begun is answered; a
  connection that only waits is closed.
  """

  @idle 60_000

  def serve do
    Process.flag(:trap_exit, true)

    receive do
      {:socket, socket} -> request(socket)
    end
  end

  defp request(socket) do
    :inet.setopts(socket, active: :once)

    receive do
      {:http, ^socket, {:http_request, method, {:abs_path, path}, version}} -> headers(socket, method, path, version, %{})
      {:EXIT, _, _} -> :gen_tcp.close(socket)
      _closed_or_no_http -> :gen_tcp.close(socket)
    after
      @idle -> :gen_tcp.close(socket)
    end
  end

  defp headers(socket, method, path, version, seen) do
    case :gen_tcp.recv(socket, 0, @idle) do
      {:ok, {:http_header, _, name, _, value}} -> headers(socket, method, path, version, Map.put(seen, name, value))
      {:ok, :http_eoh} -> answer(socket, method, path, keep?(version, seen))
      _ -> :gen_tcp.close(socket)
    end
  end

  # A body is not read here, so the connection cannot go on after it.
  defp keep?({1, 1}, headers) do
    not Map.has_key?(headers, :"Transfer-Encoding") and Map.get(headers, :"Content-Length", "0") == "0" and
      String.downcase(Map.get(headers, :Connection, "")) != "close"
  end

  defp keep?(_, _), do: false

  defp answer(socket, method, path, keep) do
    body = if path == "/version", do: version(), else: greeting()

    head = [
      "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n",
      "content-length: #{byte_size(body)}\r\nconnection: #{if keep, do: "keep-alive", else: "close"}\r\n\r\n"
    ]

    sent = :gen_tcp.send(socket, if(method == :HEAD, do: head, else: [head, body]))
    if sent == :ok and keep, do: request(socket), else: :gen_tcp.close(socket)
  end

  defp greeting do
    {:ok, host} = :inet.gethostname()
    "Hello from Elixir, version #{version()} on #{host}. Visit number #{Hello.Counter.visit()}.\n"
  end

  defp version, do: :hello |> Application.spec(:vsn) |> to_string()
end
