defmodule Circle.JSON do
  @moduledoc "Reads JSON, so that this example needs nothing but OTP. A real app has Jason."

  def decode!(text) do
    {value, rest} = value(skip(text))
    "" = skip(rest)
    value
  end

  defp value("{" <> rest), do: object(skip(rest), %{})
  defp value("[" <> rest), do: array(skip(rest), [])
  defp value("\"" <> rest), do: string(rest, [])
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("null" <> rest), do: {nil, rest}

  defp value(text) do
    [digits] = Regex.run(~r/^-?[0-9.eE+-]+/, text)
    {number, ""} = Float.parse(digits)
    {number, binary_part(text, byte_size(digits), byte_size(text) - byte_size(digits))}
  end

  defp object("}" <> rest, map), do: {map, rest}
  defp object("," <> rest, map), do: object(skip(rest), map)

  defp object("\"" <> rest, map) do
    {key, rest} = string(rest, [])
    ":" <> rest = skip(rest)
    {value, rest} = value(skip(rest))
    object(skip(rest), Map.put(map, key, value))
  end

  defp array("]" <> rest, items), do: {Enum.reverse(items), rest}
  defp array("," <> rest, items), do: array(skip(rest), items)

  defp array(text, items) do
    {value, rest} = value(text)
    array(skip(rest), [value | items])
  end

  defp string("\"" <> rest, parts), do: {parts |> Enum.reverse() |> IO.iodata_to_binary(), rest}
  defp string(<<"\\u", hex::binary-4, rest::binary>>, parts), do: string(rest, [<<String.to_integer(hex, 16)::utf8>> | parts])
  defp string(<<"\\n", rest::binary>>, parts), do: string(rest, ["\n" | parts])
  defp string(<<"\\", char::utf8, rest::binary>>, parts), do: string(rest, [<<char::utf8>> | parts])
  defp string(<<char::utf8, rest::binary>>, parts), do: string(rest, [<<char::utf8>> | parts])

  defp skip(<<space, rest::binary>>) when space in ' \t\r\n', do: skip(rest)
  defp skip(rest), do: rest
end
