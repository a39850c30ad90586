defmodule Circle.Friends do
  @moduledoc """
  Connects this node to the others of its app. It asks what libcluster's Kubernetes strategy asks, in the same words; a
  real app has libcluster instead of this file (see README.md).
  """
  use GenServer
  require Logger

  @account '/var/run/secrets/kubernetes.io/serviceaccount'

  def start_link(_), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil), do: {:ok, nil, {:continue, :look}}

  @impl true
  def handle_continue(:look, state), do: handle_info(:look, state)

  @impl true
  def handle_info(:look, state) do
    case Node.alive?() && nodes() do
      {:ok, nodes} -> for node <- nodes, node != Node.self(), node not in Node.list(), do: connect(node)
      {:error, reason} -> Logger.warning("cannot ask for the other nodes: #{inspect(reason)}")
      false -> :ok
    end

    Process.send_after(self(), :look, String.to_integer(System.get_env("POLL_MS", "5000")))
    {:noreply, state}
  end

  def handle_info(_, state), do: {:noreply, state}

  defp connect(node), do: Node.connect(node) || Logger.warning("cannot connect to #{node}")

  @doc "The nodes of this app's ready replicas."
  def nodes do
    basename = System.fetch_env!("LIBCLUSTER_KUBERNETES_NODE_BASENAME")
    query = URI.encode_query([labelSelector: System.fetch_env!("LIBCLUSTER_KUBERNETES_SELECTOR")], :rfc3986)
    url = "https://#{master()}/api/v1/namespaces/#{read("namespace")}/endpoints?#{query}"
    headers = [{'authorization', 'Bearer #{read("token")}'}]
    options = [ssl: [verify: :verify_peer, cacertfile: @account ++ '/ca.crt'], timeout: 15_000]

    case :httpc.request(:get, {to_charlist(url), headers}, options, []) do
      {:ok, {{_, 200, _}, _, body}} -> {:ok, for(ip <- addresses(Circle.JSON.decode!(to_string(body))), do: :"#{basename}@#{ip}")}
      {:ok, {{_, code, _}, _, body}} -> {:error, {code, to_string(body)}}
      {:error, reason} -> {:error, reason}
    end
  end

  # The name of the cluster comes behind it, unless it is there already.
  defp master do
    {name, domain} = {"kubernetes.default.svc", System.get_env("CLUSTER_DOMAIN", "cluster.local")}
    if String.ends_with?(name, domain), do: name, else: name <> "." <> domain
  end

  defp read(name), do: [@account, ?/, name] |> File.read!() |> String.trim()

  defp addresses(%{"items" => items}) do
    for %{"subsets" => subsets} <- items,
        %{"addresses" => addresses} <- subsets,
        %{"ip" => ip, "targetRef" => %{"namespace" => _}} <- addresses,
        do: ip
  end
end
