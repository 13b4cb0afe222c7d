"""How well and how fast the shipped violin plays the shipped voice.

    python tests/benchmarks/shipped_violin.py

Prints one JSON line: share of frames within 50 cents of the true f0 (octaves taken off, tracked
by pYIN, which is not the tracker of the transfer), correlation of the loudness with the voice's
in voiced frames, and median seconds of five runs of each part with their share of the clip.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

from listening import cents_off  # noqa: E402

from helpers import audio as sound  # noqa: E402
from helpers import config, features, model, transfer  # noqa: E402

CLIP = config.DATA / "voice" / "oohs_melody.flac"
RUNS = 5


def median_seconds(function):
    """Median time of `RUNS` calls, after one that compiles."""
    function()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main():
    """Plays, listens, times, prints."""
    instrument = model.load(config.CHECKPOINTS / "violin")
    audio, sample_rate = sound.load(CLIP, instrument.sample_rate)
    curves = features.extract(audio, sample_rate)
    fitted, done = transfer.fit(curves, instrument.statistics)
    played = transfer.render(fitted, instrument)[: len(audio)]

    true_f0_hz = pd.read_csv(CLIP.with_suffix(".f0.csv"))["f0_hz"].replace(0, np.nan)
    cents = cents_off(played, sample_rate, true_f0_hz.to_numpy())
    loudness_db = features.loudness(played, sample_rate)[: len(curves.loudness_db)]
    both = curves.voiced[: len(loudness_db)]
    correlation = np.corrcoef(loudness_db[both], curves.loudness_db[: len(both)][both])[0, 1]

    seconds = len(audio) / sample_rate
    extract_s = median_seconds(lambda: features.extract(audio, sample_rate))
    render_s = median_seconds(lambda: transfer.render(fitted, instrument))
    result = {
        "fit": done,
        "clip_seconds": seconds,
        "within_50_cents": float(np.mean(cents < 50)),
        "of_those_tracked": float(np.mean(cents[np.isfinite(cents)] < 50)),
        "loudness_correlation": correlation,
        "extract_seconds": extract_s,
        "extract_share": extract_s / seconds,
        "render_seconds": render_s,
        "render_share": render_s / seconds,
    }
    print(json.dumps({k: v if isinstance(v, str) else round(v, 3) for k, v in result.items()}))


if __name__ == "__main__":
    main()
