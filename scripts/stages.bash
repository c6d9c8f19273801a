# Runs the stages of scripts/test and scripts/ecosystem, which source this file: one after the other,
# quietly, each within a limit of its own, and says at the end what failed and how to run just that.
#
# Who sources it gives
#   command, about   its name, as one types it, and what it is, for --help
#   stages           a line a stage: name, set, limit in seconds, what it checks
#   sets             the sets that run when no stage is named
#   total            the limit of a whole run in seconds
#   run_NAME         a function for each stage; it may end with leave_out

: "${command:?}" "${about:?}" "${sets:?}" "${total:?}" "${stages[0]:?}"

target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/${command#scripts/}-logs
verbose=false
only=()   # the stages to run, in order
more=()   # what stands behind --, for the cargo of the one stage that was named
left_out=()
failed=()
summary=()
running=0
started=$SECONDS

# What incremental builds keep for the next change doubles the folder.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

main() {
  understand "$@"
  mkdir -p "$logs"
  put_last_failures_first
  trap 'interrupted' INT TERM HUP
  local name
  for name in "${only[@]}"; do
    stage "$name"
  done
  conclude
  # Here, since bash reads on in a file that may be another by then.
  exit $?
}

# ------------------------------------------------------------------------------------- the command line

understand() {
  local everything=false
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help) help && exit 0 ;;
      --list) list && exit 0 ;;
      -v | --verbose) verbose=true ;;
      --) shift && more=("$@") && break ;;
      all) everything=true ;;
      *)
        field "$1" 1 >/dev/null || misunderstood "unknown stage or option '$1'"
        only+=("$1")
        ;;
    esac
    shift
  done
  if [ ${#more[@]} -gt 0 ] && [ ${#only[@]} -ne 1 ]; then
    misunderstood "what stands behind -- is for one stage, and ${#only[@]} are named"
  fi
  if [ "${CI:-}" = true ] && [ ${#only[@]} -eq 0 ]; then everything=true; fi
  if $everything; then only=() sets="first all"; fi
  if [ ${#only[@]} -eq 0 ]; then mapfile -t only < <(names_in "$sets"); fi
}

misunderstood() {
  echo "$command: $1; expected: $command [-v] [all | STAGE... [-- FOR CARGO]], or --list, or --help" >&2
  echo "stages: $(names_in "first all" | paste -sd' ')" >&2
  exit 64
}

help() {
  cat <<END
$about

  $command [-v] [all | STAGE... [-- FOR CARGO]]

  all           every stage
  STAGE...      these and no others; what follows -- is for the cargo of the one that is named
  -v            shows what a stage prints as it goes; else it is in $logs
  --list        the stages

END
  list
}

list() {
  local line name set limit what
  for line in "${stages[@]}"; do
    read -r name set limit what <<<"$line"
    printf '  %-12s %-6s %s\n' "$name" "$set" "$what"
  done
}

# Prints field 1 (set), 2 (limit) of a stage, or fails if there is no such stage.
field() {
  local line fields
  for line in "${stages[@]}"; do
    read -ra fields <<<"$line"
    if [ "${fields[0]}" = "$1" ]; then echo "${fields[$2]}" && return; fi
  done
  return 1
}

names_in() {
  local line name set rest
  for line in "${stages[@]}"; do
    read -r name set rest <<<"$line"
    case " $1 " in *" $set "*) echo "$name" ;; esac
  done
}

# What failed last time runs first: that is what somebody waits for. Only setup stands before it.
put_last_failures_first() {
  local name first=() rest=()
  for name in "${only[@]}"; do
    if [ "$name" = setup ]; then
      first=("$name" ${first[@]+"${first[@]}"})
    elif grep -qsx "$name" "$logs/failed"; then
      first+=("$name")
    else
      rest+=("$name")
    fi
  done
  only=(${first[@]+"${first[@]}"} ${rest[@]+"${rest[@]}"})
}

# ------------------------------------------------------------------------------------------- one stage

# Goes on after a failure: one run shows everything that is wrong.
stage() {
  local name=$1 from=$SECONDS log=$logs/$1.log status verdict
  in_time "$name" "$log"
  status=$?
  local took=$((SECONDS - from))
  case $status in
    0) verdict=ok ;;
    77)
      verdict="left out"
      left_out+=("$name: $(tail -n 1 "$log")")
      ;;
    *)
      verdict=FAILED
      failed+=("$name")
      ;;
  esac
  printf '%-8s  %-12s %4d s\n' "$verdict" "$name" "$took"
  summary+=("$name ${took}s")
  show "$verdict" "$log"
}

# CI keeps nothing but what is printed, and counts tests by the lines of each program.
show() {
  if $verbose; then return; fi
  case "$1 ${CI:-}" in
    FAILED\ true) cat "$2" ;;
    FAILED*) excerpt "$2" ;;
    *true) grep '^test result:' "$2" ;;
  esac
}

# Runs a stage in a process group of its own, so that nothing of it is left when its time is over.
in_time() {
  local name=$1 log=$2 limit ends left=$((total - SECONDS + started)) terminal=false
  limit=$(field "$name" 2)
  if [ "$limit" -gt "$left" ]; then limit=$((left > 1 ? left : 1)); fi
  ends=$((SECONDS + limit))
  if [ -t 1 ] && ! $verbose; then terminal=true; fi

  set -m
  if $verbose; then
    (set -e && "run_$name") < /dev/null > >(tee "$log") 2>&1 &
  else
    (set -e && "run_$name") < /dev/null >"$log" 2>&1 &
  fi
  running=$!
  set +m
  while kill -0 "$running" 2>/dev/null; do
    if [ "$SECONDS" -ge "$ends" ]; then
      end_of_running
      echo "$command: $name took more than its $limit s and was ended" >>"$log"
    fi
    if $terminal; then progress "$name" $((SECONDS - ends + limit)) "$log"; fi
    sleep 0.2
  done
  if $terminal; then printf '\r\033[K'; fi
  local status
  { wait "$running"; } 2>/dev/null
  status=$?
  running=0
  return "$status"
}

progress() {
  local line width=${COLUMNS:-80}
  line=$(tail -n 1 "$3" | tr -d '\r\t')
  line=$(printf '...       %-12s %4d s  %s' "$1" "$2" "$line")
  printf '\r\033[K%s' "${line:0:$((width - 1))}"
}

# `kill -- -0` would end whoever called this.
end_of_running() {
  [ "$running" -gt 0 ] || return 0
  kill -TERM -- "-$running"
  sleep 2
  kill -KILL -- "-$running"
} 2>/dev/null

interrupted() {
  end_of_running
  echo
  echo "$command: interrupted"
  exit 130
}

# A stage that cannot run here ends with this: it is no failure, and it is said at the end.
leave_out() {
  echo "$1"
  exit 77
}

# ----------------------------------------------------------------------------------------- the verdict

conclude() {
  local item verdict=ok
  echo
  for item in ${left_out[@]+"${left_out[@]}"}; do
    echo "left out: $item"
  done
  for item in ${failed[@]+"${failed[@]}"}; do
    tell_failure "$item"
  done
  remember
  tests
  if [ ${#failed[@]} -gt 0 ]; then verdict="FAILED (${failed[*]})"; fi
  local times
  times=$(printf ', %s' "${summary[@]}")
  echo "$command: $verdict in $((SECONDS - started)) s: ${times:2}"
  [ ${#failed[@]} -eq 0 ]
}

# The stage, its last lines, and what runs just that: the stage, or each test program that cargo names.
tell_failure() {
  local log=$logs/$1.log
  echo "FAILED: $1 (all it printed: $log)"
  tail -n 5 "$log" | sed 's/^/  | /'
  echo "  run just that:"
  if ! sed -n "/^    \`-p\|to rerun pass/s|.*\`-p [^ ]* \(.*\)\`.*|    $command $1 -- \1|p" "$log" | sort -u | grep .; then
    echo "    $command $1"
  fi
  echo
}

# Failing tests as libtest tells them, or the end of what was printed.
excerpt() {
  if grep -qx 'failures:' "$1"; then
    awk '/^failures:$/ { on = 1 } on { print "  | " $0 } /^test result:/ { on = 0 }' "$1" | head -n 100
  else
    tail -n 30 "$1" | sed 's/^/  | /'
  fi
}

# A failure is remembered until its stage runs well.
remember() {
  local name kept=()
  while read -r name; do
    case " ${only[*]} " in *" $name "*) ;; *) kept+=("$name") ;; esac
  done < <(cat "$logs/failed" 2>/dev/null)
  printf '%s\n' ${kept[@]+"${kept[@]}"} ${failed[@]+"${failed[@]}"} >"$logs/failed"
}

tests() {
  local name ran=()
  for name in "${only[@]}"; do ran+=("$logs/$name.log"); done
  awk '/^test result:/ { runs++; passed += $4; failures += $6; ignored += $8 }
    END { if (runs) printf "tests: %d passed, %d failed, %d ignored, in %d runs\n", passed, failures, ignored, runs }' \
    "${ran[@]}"
}
