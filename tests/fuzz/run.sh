#!/usr/bin/env bash
# run.sh BUILD MINUTES: runs every fuzz target of BUILD (preset fuzz), as many at once as there are processors, for MINUTES
# of time on the clock in all; says in one line a target what came of it, and fails where something was found.
# run.sh BUILD --coverage: which branches of the parsers the inputs reach: those of corpus/, regressions/, and what
# fuzzing in BUILD has added.
#
# What fuzzing adds is kept in BUILD/corpus/TARGET, inputs that broke a promise in BUILD/found. `./bootstrap fuzz` calls this.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(mkdir -p "$1" && cd "$1" && pwd)
targets=(c_abi chat_template config gguf golden_case manifest model saved_sequence tokenizer)
parsers=(runtime/model/gguf.cpp runtime/model/metadata.cpp runtime/model/model_file.cpp runtime/config/options.cpp
  runtime/config/schema.cpp runtime/loader/manifest.cpp sdk/conformance/golden_case.cpp)
export ASAN_SYMBOLIZER_PATH=${ASAN_SYMBOLIZER_PATH:-$(command -v llvm-symbolizer-16 || true)}

# Targets write and read small files: in memory where that can be had.
scratch=$(mktemp -d -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" brim-fuzz-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch

# The folders that hold a target's inputs, of those that exist.
inputs_of() {
  local folder
  for folder in "$here/corpus/$1" "$here/regressions/$1" "$build/corpus/$1"; do
    if [[ -d $folder ]]; then echo "$folder"; fi
  done
}

fuzz_one() { # TARGET SECONDS WORKER
  local target=$1 seconds=$2 log=$build/log/$1.$3 most=4096
  case $target in
    gguf | model) most=16384 ;;
    golden_case) most=8192 ;;
    config | manifest | c_abi | tokenizer) most=1024 ;;
  esac
  mkdir -p "$build/corpus/$target"
  local dictionary=()
  if [[ -f $here/dictionaries/$target.dict ]]; then dictionary=("-dict=$here/dictionaries/$target.dict"); fi
  "$build/tests/fuzz_$target" "${dictionary[@]}" -max_total_time="$seconds" -max_len="$most" -timeout=20 \
    -rss_limit_mb=3000 -reload=30 -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
    "$build/corpus/$target" "$here/corpus/$target" >"$log" 2>&1 </dev/null || true
}

report() { # exit 1 where something was found
  local target file bad=0
  printf '%-16s %14s %12s %10s  %s\n' target executions "new inputs" coverage found
  for target in "${targets[@]}"; do
    awk -v target="$target" '
      /stat::number_of_executed_units/ { runs += $2 }
      /stat::new_units_added/ { added += $2 }
      match($0, / cov: [0-9]+/) { n = substr($0, RSTART + 6, RLENGTH - 6) + 0; if (n > cov) cov = n }
      match($0, /Test unit written to .*/) { found[substr($0, RSTART + 21)] = 1 }
      END {
        n = 0
        for (f in found) n++
        printf "%-16s %14d %12d %10d  %s\n", target, runs, added, cov, n ? n " input(s)" : "-"
        for (f in found) printf "    %s\n", f
      }' "$build/log/$target".*
    if ! grep -q "stat::number_of_executed_units" "$build/log/$target".*; then
      echo "    did not run; see $build/log/$target.*"
      bad=1
    fi
  done
  for file in "$build"/found/*; do
    [[ -e $file ]] || continue
    bad=1
    target=$(basename "$file")
    target=${target%-*-*}
    echo "to see it again: $build/tests/fuzz_$target $file"
  done
  return "$bad"
}

fuzz() { # MINUTES
  local processors copies runs seconds i target
  processors=$(nproc)
  copies=$((processors / ${#targets[@]}))
  if ((copies == 0)); then copies=1; fi
  runs=$((copies * ${#targets[@]}))
  seconds=$(($1 * 60 * (processors < runs ? processors : runs) / runs))
  rm -rf "$build/log" "$build/found"
  mkdir -p "$build/log" "$build/found"
  echo "==> ${#targets[@]} targets, $processors at once, $seconds s each"
  for ((i = 0; i < copies; ++i)); do
    for target in "${targets[@]}"; do printf '%s\n' "$target $seconds $i"; done
  done >"$scratch/list"
  export -f fuzz_one
  export build here
  xargs -a "$scratch/list" -P "$processors" -L 1 bash -c 'fuzz_one "$@"' fuzz
  report
}

coverage() {
  local out=$build-coverage target objects=() folders
  cmake --preset fuzz -S "$root" -B "$out" -DBRIM_FUZZ=OFF -DBRIM_SANITIZE= \
    -DCMAKE_CXX_FLAGS="-fprofile-instr-generate -fcoverage-mapping" >/dev/null
  cmake --build "$out" --target brim_fuzz
  rm -f "$out"/*.profraw
  for target in "${targets[@]}"; do
    mapfile -t folders < <(inputs_of "$target")
    LLVM_PROFILE_FILE="$out/$target.profraw" "$out/tests/fuzz_$target" "${folders[@]}" >/dev/null 2>"$out/$target.log" ||
      { tail -n 3 "$out/$target.log" >&2; exit 1; }
    objects+=(-object "$out/tests/fuzz_$target")
  done
  llvm-profdata-16 merge -sparse "$out"/*.profraw -o "$out/all.profdata"
  # file, branches, missed, covered: the last three columns of llvm-cov's table.
  (cd "$root" && llvm-cov-16 report -show-branch-summary -instr-profile="$out/all.profdata" "${objects[@]}" "${parsers[@]}") |
    awk 'NF >= 13 { printf "%-34s %10s %10s %10s\n", $1, $(NF - 2), $(NF - 1), $NF }'
}

if [[ $2 == --coverage ]]; then coverage; else fuzz "$2"; fi
