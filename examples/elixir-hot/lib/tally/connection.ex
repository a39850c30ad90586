defmodule Tally.Connection do
  @moduledoc """
  One connection: `GET /` is answered and done, a WebSocket lives on, through any number of upgrades. Every text message
  counts one more.
  """

  def serve do
    receive do
      {:socket, socket} -> request(socket, nil, %{})
    end
  end

  defp request(socket, path, headers) do
    case :gen_tcp.recv(socket, 0, 60_000) do
      {:ok, {:http_request, _method, {:abs_path, path}, _version}} -> request(socket, path, headers)
      {:ok, {:http_header, _, name, _, value}} -> request(socket, path, Map.put(headers, "#{name}", value))
      {:ok, :http_eoh} -> answer(socket, path, headers)
      _ -> :gen_tcp.close(socket)
    end
  end

  defp answer(socket, _path, %{"Sec-Websocket-Key" => key}), do: upgrade(socket, key)
  defp answer(socket, _path, %{"Sec-WebSocket-Key" => key}), do: upgrade(socket, key)

  defp answer(socket, "/more", _headers), do: page(socket, Tally.Counter.more())
  defp answer(socket, _path, _headers), do: page(socket, "#{Tally.Counter.report()}, version #{version()}")

  defp page(socket, text) do
    body = [text, ?\n]
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: #{IO.iodata_length(body)}\r\n"
    :gen_tcp.send(socket, [head, "connection: close\r\n\r\n", body])
    :gen_tcp.close(socket)
  end

  defp upgrade(socket, key) do
    accept = Base.encode64(:crypto.hash(:sha, key <> "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
    head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    :ok = :gen_tcp.send(socket, [head, "sec-websocket-accept: #{accept}\r\n\r\n"])
    :inet.setopts(socket, packet: :raw)
    __MODULE__.talk(socket)
  end

  # Called by its full name, so that each message is served by the newest version of this module.
  @doc false
  def talk(socket) do
    with {:ok, <<_fin::4, opcode::4, 1::1, length::7>>} <- :gen_tcp.recv(socket, 2),
         {:ok, length} <- length(socket, length),
         {:ok, mask} <- :gen_tcp.recv(socket, 4),
         {:ok, text} <- if(length == 0, do: {:ok, ""}, else: :gen_tcp.recv(socket, length)),
         :ok <- hear(socket, opcode, unmasked(text, mask)) do
      __MODULE__.talk(socket)
    else
      _ -> :gen_tcp.close(socket)
    end
  end

  defp length(_socket, length) when length < 126, do: {:ok, length}

  defp length(socket, 126) do
    with {:ok, <<length::16>>} <- :gen_tcp.recv(socket, 2), do: {:ok, length}
  end

  defp length(_socket, _length), do: :too_long

  defp unmasked(text, <<mask::32>>) do
    for {byte, place} <- Enum.with_index(:binary.bin_to_list(text)), into: "" do
      <<Bitwise.bxor(byte, Bitwise.band(Bitwise.bsr(mask, 24 - 8 * rem(place, 4)), 255))>>
    end
  end

  defp hear(socket, 1, _text), do: say(socket, 1, "#{Tally.Counter.more()} #{version()}")
  defp hear(socket, 9, text), do: say(socket, 10, text)
  defp hear(_socket, 10, _text), do: :ok
  defp hear(socket, 8, text), do: say(socket, 8, text) && :closed

  defp say(socket, opcode, text), do: :gen_tcp.send(socket, [<<1::1, 0::3, opcode::4, byte_size(text)>>, text])

  defp version, do: :tally |> Application.spec(:vsn) |> to_string()
end
