# Says what mix.exs says, one KEY=VALUE per line, without needing any dependency.
Mix.start()
Mix.env(String.to_atom(System.get_env("MIX_ENV", "prod")))
Code.compile_file("mix.exs")
config = Mix.Project.config()

lock = Keyword.get(config, :lockfile, "mix.lock")
locked = if File.exists?(lock), do: File.read!(lock), else: ""
deps = config[:deps] || []

options = fn
  {_, options} when is_list(options) -> options
  {_, _, options} -> options
  _ -> []
end

hex? = fn dep -> not Enum.any?([:path, :git, :github, :in_umbrella], &Keyword.has_key?(options.(dep), &1)) end
releases = Keyword.keys(config[:releases] || [])

facts = [
  umbrella: config[:apps_path] != nil,
  deps: deps != [] or locked =~ ~r/"[^"]+": /,
  hex: Enum.any?(deps, hex?) or locked =~ "{:hex,",
  phoenix: Enum.any?(deps, &(elem(&1, 0) in [:phoenix])) or locked =~ ~s("phoenix": ),
  assets: Keyword.has_key?(config[:aliases] || [], :"assets.deploy"),
  releases: Enum.join(releases, " "),
  default_release: config[:default_release],
  apps: Enum.map_join(Mix.Project.apps_paths() || %{config[:app] => "."}, " ", &elem(&1, 0)),
  app: config[:app]
]

for {key, value} <- facts, do: IO.puts("#{key}=#{value}")
