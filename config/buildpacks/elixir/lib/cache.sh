# What one build leaves for the next: dependencies and compiled code, and what makes mix believe in them.
#
# mix compares times, and every checkout is new. So a file whose content is what it was at the last build gets an old
# time again; one that changed keeps its new one.

cached_folders=(deps _build .mix .hex)
old_time='2001-01-01 00:00:00'

restore_cache() {
  if [[ $always_rebuild == true ]]; then
    rm -rf "$cache/tree" "$cache/sources"
    return
  fi
  local folder
  for folder in "${cached_folders[@]}"; do
    # What the app itself brings goes first.
    if [[ -d $cache/tree/$folder && ! -e $folder ]]; then
      cp -a --reflink=auto "$cache/tree/$folder" "$folder"
    fi
  done
  source_sums >"$cache/sources.new"
  if [[ -f $cache/sources ]]; then
    comm -z -12 "$cache/sources" "$cache/sources.new" | cut -z -c 67- |
      xargs -0 -r touch --no-create --no-dereference --date "$old_time"
  fi
}

# "SHA256  PATH" of every file of the app, NUL-separated, sorted.
source_sums() {
  find . -type f -not -path './.git/*' -not -path './deps/*' -not -path './_build/*' -not -path './.mix/*' \
    -not -path './.hex/*' -not -path './.platform_tools/*' -print0 | xargs -0 -r sha256sum -z | LC_ALL=C sort -z
}

# Replaces the kept folders at once: a build that is killed meanwhile leaves the old ones.
save_cache() {
  local folder
  rm -rf "$cache/tree.new"
  mkdir "$cache/tree.new"
  for folder in "${cached_folders[@]}"; do
    if [[ -d $folder ]]; then
      cp -a --reflink=auto "$folder" "$cache/tree.new/$folder"
    fi
  done
  rm -rf "$cache/tree"
  mv "$cache/tree.new" "$cache/tree"
  if [[ -f $cache/sources.new ]]; then
    mv "$cache/sources.new" "$cache/sources"
  fi
}
