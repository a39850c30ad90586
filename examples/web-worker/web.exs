# The `web` process: it listens on $PORT, with the HTTP server that comes with Erlang.
defmodule Page do
  def unquote(:do)(_request) do
    body = ~c"Hello from web, up #{div(elem(:erlang.statistics(:wall_clock), 0), 1000)} s.\n"
    head = [code: 200, content_type: ~c"text/plain", content_length: Integer.to_charlist(length(body))]
    {:proceed, [response: {:response, head, body}]}
  end
end

{:ok, _} = Application.ensure_all_started(:inets)
root = String.to_charlist(System.tmp_dir!())
port = String.to_integer(System.get_env("PORT", "4000"))
options = [port: port, bind_address: :any, server_name: ~c"web", server_root: root, document_root: root, modules: [Page]]
{:ok, _} = :inets.start(:httpd, options)
IO.puts("web listens on port #{port}")
Process.sleep(:infinity)
