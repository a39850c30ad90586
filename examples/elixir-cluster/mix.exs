defmodule Circle.MixProject do
  use Mix.Project

  def project do
    [
      app: :circle,
      version: "0.1.0",
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      releases: [circle: [include_executables_for: [:unix]]]
    ]
  end

  def application do
    [mod: {Circle.Application, []}, extra_applications: [:logger, :inets, :ssl]]
  end
end
