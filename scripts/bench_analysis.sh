# analyze: its rows of bench.sh, which sources this. How fast it is beside pandas, and beside merely reading the file.
# shellcheck shell=bash disable=SC2154 # bench.sh sets what is not assigned here

# peak_kib COMMAND…: the most memory it had, in KiB; its output hidden.
peak_kib() {
    /usr/bin/time -f %M -o "$out/last.peak" "$@" >"$out/last.log" 2>&1 || die "failed, see $out/last.log: $*"
    cat "$out/last.peak"
}

analysis_rounds() {
    local round env=$TARGET/python-analysis-baseline small million ten baseline read_s
    small=$out/rows-1k
    million=$out/rows-1m
    ten=$out/rows-10m
    python_env "$env" "$ROOT/scripts/analysis_baseline.requirements.txt"
    baseline=("$env/bin/python" "$ROOT/scripts/analysis_baseline.py" "$million/latency_results.csv" --out "$out/baseline")
    say "a thousand, a million and ten million round trips to analyse"
    native_run "$region" "$small" --frames none --messages 1000 --quiet
    native_run "$region" "$million" --frames none --messages 1000000 --quiet
    native_run "$region" "$ten" --frames none --messages 10000000 --quiet
    native_stop
    for round in $(seq "$analysis_rounds"); do
        say "analysis round $round of $analysis_rounds"
        read_s=$("$BIN/examples/csv_read" "$ten/latency_results.csv" | cut -d ' ' -f 2)
        jq -n --argjson read_s "$read_s" \
            --argjson small_s "$(seconds_of "$BIN/analyze" "$small" --quiet)" \
            --argjson million_s "$(seconds_of "$BIN/analyze" "$million" --quiet)" \
            --argjson ten_s "$(seconds_of "$BIN/analyze" "$ten" --quiet)" \
            --argjson ten_kib "$(peak_kib "$BIN/analyze" "$ten" --quiet)" \
            --argjson baseline_s "$(seconds_of "${baseline[@]}")" \
            --argjson plain_s "$(seconds_of "${baseline[@]}" --no-bootstrap)" '
            {
                analyze_1m_over_pandas: ($million_s / $baseline_s), over_plain: ($million_s / $plain_s),
                analyze_10m_rows: ($read_s / $ten_s), analyze_10m_memory: ($ten_kib * 1024 / 1e9), analyze_start: $small_s,
                read_s: $read_s, million_s: $million_s, ten_s: $ten_s, baseline_s: $baseline_s, plain_s: $plain_s
            }' >"$out/analysis-$round.json"
    done
    rm -rf "$ten"
    jq -s '. as $rounds | '"$JQ_ROWS"'
        [
            row("analyze_1m_over_pandas"; "<="; 0.1),
            row("analyze_10m_rows"; ">="; 0.5),
            row("analyze_10m_memory"; "<="; 1; "GB"),
            row("analyze_start"; "<="; 0.5; "s")
        ]' "$out"/analysis-[0-9]*.json >"$out/analysis-rows.json"
    jq -rs --arg rounds "$analysis_rounds" '
        def median: sort | .[(length - 1) / 2 | floor];
        def rounded: . * 1000 | round / 1000;
        "medians of \($rounds) analysis rounds, s: a million rows \([.[].million_s] | median | rounded), with pandas " +
        "\([.[].baseline_s] | median | rounded) and without its bootstrap \([.[].plain_s] | median | rounded) (analyze, which " +
        "has it, takes \([.[].over_plain] | median | rounded) of that); ten million \([.[].ten_s] | median | rounded), read by " +
        "the csv crate in \([.[].read_s] | median | rounded)"' "$out"/analysis-[0-9]*.json
}
