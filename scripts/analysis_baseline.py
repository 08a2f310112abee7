"""The statistics of `analyze` on one latency file, and three pictures, with pandas, numpy and matplotlib.

What bench.sh divides the time of `analyze` by. Written as someone would who knows numpy: no loop over rows, whole columns
at a time, narrow types, one partition for all percentiles of a resample.
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

PERCENTILES = [50, 90, 95, 99, 99.9, 99.99]
WITH_INTERVAL = [50, 90, 99, 99.9]
RESAMPLES = 1000
MIN_SAMPLES_BEYOND = 10


def distribution(values):
    count = len(values)
    percentiles = np.percentile(values, PERCENTILES, method="inverted_cdf")
    shown = [count - np.ceil(p / 100 * count) >= MIN_SAMPLES_BEYOND for p in PERCENTILES]
    return {
        "count": count,
        "min_ns": int(values.min()),
        "max_ns": int(values.max()),
        "mean_ns": float(values.mean()),
        "stddev_ns": float(values.std(ddof=1)) if count > 1 else None,
        **{f"p{p:g}_ns": int(v) if ok else None for p, v, ok in zip(PERCENTILES, percentiles, shown)},
    }


def autocorrelation(values):
    """By the fast Fourier transform, padded so that the ends do not meet."""
    centred = values - values.mean()
    size = 1 << (2 * len(centred) - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    correlation = np.fft.irfft(power, size)[: len(centred)]
    return correlation / correlation[0] if correlation[0] > 0 else None


def dependence(values):
    correlation = autocorrelation(values.astype(np.float64))
    if correlation is None:
        return {"lag_1": None, "effective_samples": len(values), "block_length": 1}
    # Geyer's initial positive sequence: pairs of neighbours are summed while they are above 0.
    pairs = correlation[: len(correlation) // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    reach = int(ends[0]) if len(ends) else len(pairs)
    tau = max(2 * pairs[:reach].sum() - 1, 1.0)
    length = int(np.clip(np.ceil(tau * len(values) ** (1 / 3)), 1, len(values) // 20 or 1))
    return {"lag_1": float(correlation[1]), "effective_samples": len(values) / tau, "block_length": length}


def intervals(values, length, seed):
    """95 % percentile intervals of a circular block bootstrap."""
    generator = np.random.default_rng(seed)
    count = len(values)
    blocks = -(-count // length)
    ranks = np.maximum(np.ceil(np.array(WITH_INTERVAL) / 100 * count).astype(np.int64) - 1, 0)
    around = np.concatenate([values, values[:length]])
    offsets = np.arange(length)
    figures = np.empty((RESAMPLES, len(ranks) + 1))
    for resample in range(RESAMPLES):
        starts = generator.integers(0, count, blocks)
        sample = around[(starts[:, None] + offsets).ravel()[:count]]
        figures[resample, -1] = sample.mean()
        figures[resample, :-1] = np.partition(sample, ranks)[ranks]
    low, high = np.percentile(figures, [2.5, 97.5], axis=0)
    names = [f"p{p:g}" for p in WITH_INTERVAL] + ["mean"]
    return {name: {"low_ns": a, "high_ns": b} for name, a, b in zip(names, low, high)}


def modes(values):
    logs = np.log10(np.maximum(values, 1))
    counts, edges = np.histogram(logs, bins=400)
    smooth = np.convolve(counts, np.hanning(9) / np.hanning(9).sum(), mode="same")
    peak = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:]) & (smooth[1:-1] > 0.02 * smooth.max())
    places = np.flatnonzero(peak) + 1
    return [{"at_ns": float(10 ** edges[i]), "share": float(smooth[i] / len(values))} for i in places]


def outliers(values):
    p50, p99 = np.percentile(values, [50, 99])
    threshold = p50 + 4 * (p99 - p50)
    places = np.flatnonzero(values > threshold)
    if len(places) < MIN_SAMPLES_BEYOND:
        return {"threshold_ns": threshold, "count": len(places), "clusters": len(places), "period_ns": None}
    # Closed loop: a message begins when the one before is done.
    times = np.cumsum(values, dtype=np.float64)[places]
    firsts = times[np.concatenate([[True], np.diff(places) > 2])]
    gaps = np.diff(firsts)
    candidates = 1e9 / np.array([100, 250, 300, 1000])
    phases = firsts[None, :] / candidates[:, None]
    strength = np.abs(np.exp(2j * np.pi * phases).mean(axis=1))
    best = int(strength.argmax())
    period = float(candidates[best]) if strength[best] > 0.5 else None
    return {
        "threshold_ns": float(threshold),
        "count": len(places),
        "clusters": len(firsts),
        "median_gap_ns": float(np.median(gaps)) if len(gaps) else None,
        "period_ns": period,
    }


def course(values):
    """Warm-up and drift, from the medians of a hundred blocks."""
    blocks = np.array_split(values, min(100, len(values)))
    medians = np.array([np.median(block) for block in blocks])
    rest = np.median(medians[len(medians) // 2 :])
    spread = np.median(np.abs(medians - rest)) * 1.4826 or 1.0
    settled = np.flatnonzero(medians <= rest + 4 * spread)
    first = int(settled[0]) if len(settled) else 0
    x = np.arange(len(medians))
    i, j = np.triu_indices(len(medians), 1)
    slope = np.median((medians[j] - medians[i]) / (x[j] - x[i])) if len(medians) > 1 else 0.0
    return {
        "warm_up_messages": int(sum(len(block) for block in blocks[:first])),
        "drift_percent": float(slope * len(medians) / rest * 100) if rest else None,
    }


def pictures(table, processed, received, out):
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(12, 10), dpi=100)
    p99 = np.percentile(processed, 99)
    upper.hist(processed[processed <= p99], bins=140)
    upper.set(title="Round-trip latency: the body", xlabel="ns, linear scale", ylabel="messages per bin")
    low, high = max(processed.min(), 1), processed.max()
    lower.hist(processed, bins=np.geomspace(low, high + 1, 160))
    lower.set(title="All of it", xlabel="ns, log scale", ylabel="messages per bin", xscale="log", yscale="log")
    figure.savefig(out / "latency_histogram.png")
    plt.close(figure)

    figure, axes = plt.subplots(figsize=(12, 8), dpi=100)
    groups = np.array_split(processed, min(540, len(processed)))
    places = table["iteration"].to_numpy()[np.cumsum([0] + [len(group) for group in groups[:-1]])]
    bands = np.array([np.percentile(group, [0, 10, 50, 90, 100]) for group in groups]).T
    axes.fill_between(places, bands[0], bands[4], alpha=0.25)
    axes.fill_between(places, bands[1], bands[3], alpha=0.4)
    axes.plot(places, bands[2])
    axes.set(title="Round-trip latency over time", xlabel="message", ylabel="ns, log scale", yscale="log")
    figure.savefig(out / "latency_over_time.png")
    plt.close(figure)

    figure, axes = plt.subplots(figsize=(12, 8), dpi=100)
    for name, values in [("to PROCESSED", processed), ("to RECEIVED", received)]:
        if len(values):
            ranks = np.unique(np.geomspace(1, len(values), 2000).astype(np.int64))
            place = np.log10(len(values) / ranks)
            axes.step(place, np.sort(values)[len(values) - ranks], label=name)
    axes.set(title="Round-trip latency by percentile", xlabel="nines", ylabel="ns, log scale", yscale="log")
    axes.legend()
    figure.savefig(out / "latency_percentiles.png")
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--no-bootstrap", action="store_true", help="all but the confidence intervals")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    table = pd.read_csv(args.csv)
    ok = table[table["status"] == "ok"]
    # Narrow where it fits: half the memory to move.
    fits = ok["latency_ns"].max() < 1 << 32
    processed = ok["latency_ns"].to_numpy(np.uint32 if fits else np.uint64)
    received = ok["received_ns"].dropna().to_numpy(np.uint64)
    shape = dependence(processed)
    summary = {
        "rows": len(table),
        "failed_by_status": table.loc[table["status"] != "ok", "status"].value_counts().to_dict(),
        "lost": int(table["iteration"].iloc[-1] - len(table)),
        "rtt_processed": distribution(processed),
        "rtt_received": distribution(received) if len(received) else None,
        "jitter_ns": float(np.abs(np.diff(processed.astype(np.int64))).mean()) if len(processed) > 1 else None,
        "autocorrelation": shape,
        "intervals": None if args.no_bootstrap else intervals(processed, shape["block_length"], args.seed),
        "modes": modes(processed),
        "outliers": outliers(processed),
        "course": course(processed),
    }
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2))
    pictures(ok, processed, received, args.out)


main()
