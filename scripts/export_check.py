"""Runs the SQL of docs/analysis.md on an export and holds what comes out against the summary.json of the same runs.

Usage: export_check.py ANALYSIS_MD FLEET SUMMARY_JSON...
"""

import json
import pathlib
import re
import sys

import duckdb


def queries(document, fleet):
    blocks = re.findall(r"```sql\n(.*?)```", document, flags=re.S)
    assert len(blocks) == 4, f"{len(blocks)} queries in the document, 4 are known here"
    return [block.replace("'fleet/", f"'{fleet}/") for block in blocks]


def rows(query):
    cursor = duckdb.sql(query)
    return [dict(zip(cursor.columns, row)) for row in cursor.fetchall()]


def check(what, found, expected):
    if isinstance(expected, float):
        same = found is not None and abs(found - expected) <= 1e-9 * abs(expected)
    else:
        same = found == expected
    if not same:
        sys.exit(f"export_check: {what}: the query says {found}, summary.json {expected}")


def main():
    document, fleet = pathlib.Path(sys.argv[1]).read_text(), sys.argv[2]
    summaries = [json.loads(pathlib.Path(path).read_text())["runs"][0] for path in sys.argv[3:]]
    runs = {run["provenance"]["session"]: run for run in summaries}
    assert len(runs) == len(summaries) > 1, "give several runs"
    percentiles, medians, rates, statuses = [rows(query) for query in queries(document, fleet)]

    check("sessions", {row["run_session"] for row in percentiles}, set(runs))
    for row in percentiles:
        latency = runs[row["run_session"]]["latency"]
        rtt = latency["rtt_processed"] or latency["from_due_processed"]
        check("ok rows", row["ok"], latency["ok"])
        for figure in ["p50_ns", "p99_ns", "max_ns"]:
            check(f"{figure} of {row['run_session']}", row[figure], rtt[figure])
        check("accelerator", row["accelerator"], "native" if runs[row["run_session"]]["role"] == "native" else "tcg")

    clean = [run for run in runs.values() if not run["provenance"]["interference"]["dirty"] and not run["load"]]
    check("runs that are clean", sum(row["runs"] for row in medians), len(clean))
    p50s = {run["latency"]["rtt_processed"]["p50_ns"] for run in clean}
    assert all(row["median_p50_ns"] in p50s for row in medians)

    for row in rates:
        frames = runs[row["run_session"]]["bandwidth"]["frames"]
        frame = next(frame for frame in frames if frame["frame"] == row["frame_type"])
        check("frames", row["frames"], frame["ok"])
        check("mean rate", row["mean_gb_per_s"], frame["rate"]["mean_gb_per_s"])
    check("sizes", len(rates), sum(len(run["bandwidth"]["frames"]) for run in runs.values()))

    for session, run in runs.items():
        of_run = [row for row in statuses if row["kind"] == "latency" and row["run_session"] == session]
        failed = {row["status"]: row["rows"] for row in of_run if row["status"] != "ok"}
        check("failed rows", failed, run["latency"]["failed_by_status"])
    print(f"export_check: 4 queries, {len(runs)} runs: as summary.json says")


main()
