# Precompiled Erlang and Elixir from GIGALIXIR_ELIXIR_MIRROR, checked and kept in the cache. The mirror's layout:
#
#   otp/ARCH/SYSTEM/builds.txt     lines of "OTP-27.1 REF DATE SHA256", beside them OTP-27.1.tar.gz
#   elixir/builds.txt              lines of "v1.18.2-otp-27 REF DATE SHA256", beside them v1.18.2-otp-27.zip
#
# They end up in BUILD/.platform_tools, so that the slug carries what it runs on.

download() {
  curl --fail --silent --show-error --location --retry 3 --retry-connrefused --max-time 600 "$1" -o "$2"
}

# The builds' name of this system. Debian's releases use the Ubuntu build with the same C library or an older one.
mirror_system() {
  local ID='' VERSION_ID=''
  # shellcheck source=/dev/null
  source /etc/os-release
  case $ID-$VERSION_ID in
    debian-11) echo ubuntu-20.04 ;;
    debian-12) echo ubuntu-22.04 ;;
    debian-13) echo ubuntu-24.04 ;;
    *) echo "$ID-$VERSION_ID" ;;
  esac
}

# Prints "NAME SHA256" of the newest build in list $1 that satisfies version $2; names are PREFIX VERSION SUFFIX.
newest_build() {
  local list=$1 wanted=$2 prefix=$3 suffix=$4 name sum version
  while read -r name _ _ sum; do
    [[ $name == "$prefix"*"$suffix" ]] || continue
    version=${name#"$prefix"}
    version=${version%"$suffix"}
    # A release candidate only for those who ask for it by name.
    [[ $version =~ ^[0-9.]+$ || $version == "$wanted" ]] || continue
    if satisfies "$version" "$wanted"; then
      echo "$version $name $sum"
    fi
  done <"$list" | sort -V | tail -n 1 | cut -d ' ' -f 2,3
}

# Downloads $1 (a folder of the mirror) / $2 (a build's name) . $4 into the cache, unless it is there, and checks it
# against sum $3. Prints its path.
cached_build() {
  local file=$cache/downloads/$2.$4
  if [[ ! -f $file ]]; then
    mkdir -p "$cache/downloads"
    download "$GIGALIXIR_ELIXIR_MIRROR/$1/$2.$4" "$file.part" || fail "$2 could not be downloaded from the mirror."
    mv "$file.part" "$file"
  fi
  if ! echo "$3  $file" | sha256sum --check --status; then
    rm -f "$file"
    fail "$2 is not what the mirror's list promises: its SHA-256 differs." "Push again; tell the operator if it stays so."
  fi
  echo "$file"
}

install_from_mirror() {
  local arch system list otp elixir name sum file
  GIGALIXIR_ELIXIR_MIRROR=${GIGALIXIR_ELIXIR_MIRROR%/}
  case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) arch=$(uname -m) ;;
  esac
  system=$(mirror_system)
  list=$(mktemp -d)
  download "$GIGALIXIR_ELIXIR_MIRROR/otp/$arch/$system/builds.txt" "$list/otp" ||
    fail "The mirror has no Erlang for $system on $arch." "Use another mirror or another machine."
  download "$GIGALIXIR_ELIXIR_MIRROR/elixir/builds.txt" "$list/elixir" || fail "The mirror has no list of Elixir builds."

  otp=$(newest_build "$list/otp" "$erlang_version" OTP- '')
  [[ -n $otp ]] || fail "The mirror has no Erlang $erlang_version for $system." "Ask for a version that its builds.txt lists."
  name=${otp% *} sum=${otp#* }
  elixir=$(newest_build "$list/elixir" "$elixir_version" v "-otp-$(sed 's/OTP-\([0-9]*\).*/\1/' <<<"$name")")
  [[ -n $elixir ]] || fail "The mirror has no Elixir $elixir_version for ${name#OTP-}." "Ask for a pair of versions that fit."

  heading "Installing Erlang ${name#OTP-} and Elixir $(sed 's/v\(.*\)-otp-.*/\1/' <<<"$elixir") from the mirror"
  local root=$build/.platform_tools
  mkdir -p "$root/elixir"
  file=$(cached_build "otp/$arch/$system" "$name" "$sum" tar.gz)
  tar -xzf "$file" -C "$root"
  mv "$root/$name" "$root/erlang"
  # Its start scripts hold the path they will run at.
  (cd "$root/erlang" && ./Install -minimal "$runtime_path/.platform_tools/erlang" >/dev/null)
  file=$(cached_build elixir "${elixir% *}" "${elixir#* }" zip)
  export PATH=$root/elixir/bin:$root/erlang/bin:$PATH
  # Erlang unpacks it: nothing says that the machine has unzip.
  erl -noshell -eval "{ok, _} = zip:extract(\"$file\", [{cwd, \"$root/elixir\"}]), halt()." </dev/null
  chmod +x "$root"/elixir/bin/*
}

# Later packs and the running app find the tools too.
write_export() {
  local path=''
  if [[ $tools == mirror ]]; then
    # shellcheck disable=SC2016
    path='export PATH=/app/.platform_tools/elixir/bin:/app/.platform_tools/erlang/bin:$PATH'
    mkdir -p "$build/.profile.d"
    echo "${path//\/app/$runtime_path}" >"$build/.profile.d/elixir_tools.sh"
  fi
  printf '%s\nexport MIX_ENV=%q MIX_HOME=%q HEX_HOME=%q\n' "$path" "$MIX_ENV" "$MIX_HOME" "$HEX_HOME" >"$pack/export"
}
