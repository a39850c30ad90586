defmodule Tally.MixProject do
  use Mix.Project

  def project do
    [
      app: :tally,
      version: "0.2.0",
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      releases: [tally: [include_executables_for: [:unix]]]
    ]
  end

  def application do
    [mod: {Tally.Application, []}, extra_applications: [:logger, :crypto]]
  end
end
