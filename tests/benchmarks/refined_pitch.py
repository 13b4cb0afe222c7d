"""What refining CREPE's pitch is good for: cents on tones, and the sound of high harmonics.

    python tests/benchmarks/refined_pitch.py recording.flac ... --instruments violin ...

First tones with vibrato, whose pitch is known. Then, of each recording's first 20 s, the share of
the power around its harmonics that follows them to within 12 Hz, in three bands: as CREPE's pitch
has the harmonics, as the refined pitch has them, and of instruments that play the recording.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.signal

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import pitch
from helpers.evaluation import metrics
from helpers.instruments import bundles

SAMPLE_RATE, FRAME_RATE = config.SAMPLE_RATE, config.FRAME_RATE
HOP = SAMPLE_RATE // FRAME_RATE
SECONDS = 20.0
TONES = ((65, 10), (110, 20), (220, 0), (440, 25), (880, 30), (1500, 30))  # Hz, cents of vibrato
BANDS_HZ = ((0, 2000), (2000, 5000), (5000, 8000))
NARROW_SECONDS, WIDE_SECONDS = 0.128, 0.008  # Hann windows: 12 Hz and 190 Hz to half the power


def main():
    options = _options()
    print(_tones().to_string(index=False, float_format="{:.2f}".format), "\n")
    instruments = {name: bundles.load(config.CHECKPOINTS / name) for name in options.instruments}
    for path in options.recordings:
        print(path)
        print(_shares(path, instruments).to_string(float_format="{:.2f}".format), "\n")


def _tones():
    """RMS error in cents of CREPE alone and refined, of tones in noise 30 dB below them."""
    rows = []
    for f0_hz, depth_cents in TONES:
        times_s = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
        true_hz = f0_hz * 2 ** (depth_cents / 1200 * np.sin(2 * np.pi * 5.5 * times_s))
        phase = 2 * np.pi * np.cumsum(true_hz) / SAMPLE_RATE
        tone = sum(np.sin(k * phase) / k for k in range(1, 60) if k * f0_hz < 7500)
        noise = np.random.default_rng(0).standard_normal(len(tone))
        tone = (0.2 * tone + 0.006 * noise).astype(np.float32)
        crepe_hz, _ = pitch.track(tone, SAMPLE_RATE, FRAME_RATE)
        refined_hz = pitch.refine(tone, crepe_hz, SAMPLE_RATE, FRAME_RATE)
        row = {"tone (Hz)": f0_hz, "vibrato (cents)": depth_cents}
        for name, found_hz in (("CREPE", crepe_hz), ("refined", refined_hz)):
            cents = 1200 * np.log2(found_hz[:-1] / true_hz[::HOP])[8:-8]
            row[f"{name}, RMS error (cents)"] = np.sqrt(np.mean(cents**2))
        rows.append(row)
    return pd.DataFrame(rows)


def _shares(path, instruments):
    audio = sound.load(path, SAMPLE_RATE)[0][: round(SECONDS * SAMPLE_RATE)]
    curves = metrics.measure(audio, SAMPLE_RATE, FRAME_RATE)
    sure = curves.voiced & (curves.confidence >= metrics.SURE_CONFIDENCE)
    crepe_hz = pitch.fill_unvoiced(curves.f0_hz)
    refined_hz = pitch.refine(audio, crepe_hz, SAMPLE_RATE, FRAME_RATE)
    rows = {
        "recording, by CREPE": _share(audio, crepe_hz, sure),
        "recording, refined": _share(audio, refined_hz, sure),
    }
    for name, instrument in instruments.items():
        played = instrument.play(refined_hz, curves.loudness_db)[: len(audio)]
        rows[name] = _share(played, refined_hz, sure)
    return pd.DataFrame(rows, index=[f"{low} to {high} Hz" for low, high in BANDS_HZ]).T


def _share(audio, f0_hz, sure):
    """Power that follows the harmonics, as a share of what is around them, by band."""
    samples = np.arange(len(audio))
    phase = 2 * np.pi * np.cumsum(np.interp(samples, HOP * np.arange(len(f0_hz)), f0_hz))
    frames = np.flatnonzero(sure[: len(audio) // HOP])
    powers = np.zeros((len(BANDS_HZ), 2))
    for k in range(1, int(SAMPLE_RATE / 2 / f0_hz[frames].min())):
        turned = audio * np.exp(-1j * k * phase / SAMPLE_RATE)
        heard = [
            _smooth(turned, seconds)[frames * HOP] for seconds in (NARROW_SECONDS, WIDE_SECONDS)
        ]
        for band, (low, high) in zip(powers, BANDS_HZ, strict=True):
            of_band = (low <= k * f0_hz[frames]) & (k * f0_hz[frames] < min(high, 7800))
            band += [np.sum(np.abs(one[of_band]) ** 2) for one in heard]
    return powers[:, 0] / powers[:, 1]


def _smooth(values, seconds):
    window = np.hanning(round(seconds * SAMPLE_RATE))
    return scipy.signal.oaconvolve(values, window / window.sum(), mode="same")


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="*", help="sound files of one instrument")
    parser.add_argument(
        "--instruments", nargs="*", default=[], help="names in checkpoints/, at 16 kHz"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
