defmodule HelloMix.Page do
  @moduledoc "A module of `:httpd`, which takes care of connections, keep-alive and stopping."

  def start_link(port) do
    root = String.to_charlist(System.tmp_dir!())

    options = [
      port: port,
      bind_address: :any,
      server_name: ~c"hello_mix",
      server_root: root,
      document_root: root,
      modules: [__MODULE__]
    ]

    with {:ok, server} <- :inets.start(:httpd, options, :stand_alone) do
      IO.puts("listening on port #{port}")
      {:ok, server}
    end
  end

  @doc false
  def unquote(:do)(_request) do
    {:ok, host} = :inet.gethostname()
    body = ~c"Hello from mix #{System.version()} on #{host}, node #{node()}.\n"
    head = [code: 200, content_type: ~c"text/plain", content_length: Integer.to_charlist(length(body))]
    {:proceed, [response: {:response, head, body}]}
  end
end
