app = :"@APP@"
_ = Application.load(app)
repos = Application.get_env(app, :ecto_repos, [])

cond do
  Application.spec(app) == nil ->
    IO.puts("There is no application #{app} in this release; name the one that has the repos with -m.")

  not Code.ensure_loaded?(Ecto.Migrator) ->
    IO.puts("#{app} does not use Ecto (there is no Ecto.Migrator): nothing to migrate.")

  repos == [] ->
    IO.puts("#{app} names no repos (config :#{app}, ecto_repos: [...]): nothing to migrate.")

  true ->
    for repo <- repos do
      up = fn repo -> apply(Ecto.Migrator, :run, [repo, :up, [all: true]]) end
      {:ok, versions, _} = apply(Ecto.Migrator, :with_repo, [repo, up])
      IO.puts("#{inspect(repo)}: #{length(versions)} migration(s) run.")
    end
end

:ok
