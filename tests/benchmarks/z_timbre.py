"""How far z carries the timbre of one clip to another.

    python tests/benchmarks/z_timbre.py [--checkpoint autoencoder]

Each of the clips that the tables of results are made of is played from its own pitch and loudness,
with its own z and with that of each other clip. MFCCs 1 to 19 at 16 kHz, their means over the
clip, tell where the sound went: 0 is where it was, 1 is the resynthesis of the other clip. This
is the share of the way between the two in their direction, as a median and quartiles over pairs.
"""

import argparse
import itertools
import sys
from pathlib import Path

import librosa
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import features, pitch
from helpers.evaluation import results
from helpers.instruments import bundles

RATE = 16000  # Hz, of the MFCCs


def timbre(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean MFCCs 1 to 19 of a sound. Shape [19]."""
    at_16k = sound.resample(audio, sample_rate, RATE)
    return librosa.feature.mfcc(y=at_16k, sr=RATE, n_mfcc=20)[1:].mean(axis=1)


def main() -> None:
    """Prints the share of the way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="autoencoder", help="name or path (%(default)s)")
    path = Path(parser.parse_args().checkpoint)
    instrument = bundles.load(path if path.exists() else config.CHECKPOINTS / path)
    rate = instrument.sample_rate
    clips = []
    for clip in results.heldout_clips()["path"]:
        audio, _ = sound.load(clip, rate)
        found = features.extract(audio, rate, instrument.frame_rate, cached=True)
        clips.append(
            (pitch.fill_unvoiced(found.f0_hz), found.loudness_db, instrument.encode(audio))
        )

    def played(one, other):
        f0_hz, loudness_db, _ = clips[one]
        z = np.resize(clips[other][2], (len(f0_hz), instrument.z_dims))
        return timbre(instrument.play(f0_hz, loudness_db, z), rate)

    own = [played(n, n) for n in range(len(clips))]
    shares = []
    for one, other in itertools.permutations(range(len(clips)), 2):
        way = own[other] - own[one]
        shares.append((played(one, other) - own[one]) @ way / (way @ way))
    low, middle, high = np.percentile(shares, [25, 50, 75])
    print(f"{len(shares)} pairs: {middle:.2f} of the way (quartiles {low:.2f} and {high:.2f})")


if __name__ == "__main__":
    main()
