"""How well transfers follow the voice, and how much they sound like the instrument.

    python tests/benchmarks/transfer_quality.py violin=FOLDER [flute=FOLDER ...]
        [--voices FILE ...] [--seconds 5] [--peer FOLDER ...]

Plays each voice (by default those that ship) on each checkpoint, with nothing set by hand, and
scores what comes out against the voice and against recordings of the real instrument, which
FOLDER holds. `--peer` scores another program's transfers in the same table, from
FOLDER/<checkpoint>/<voice>.wav; `--seconds` takes the beginning of each voice alone, as a peer
may have done. The sounds and the table go to results/transfer_quality.

Columns: octaves shifted; over frames that are surely pitched in voice and transfer, cents between
them, octaves taken off: the median, and the share below 50; share of the voice's pitched frames
that are pitched in the transfer; correlation of the loudness in dB; and three timbre distances to
the recordings: the transfer's, the voice's, and that of pieces of 5 s of the recordings
themselves to the other recordings, the median: as near as the player is to himself. The distance
is Fréchet's (Dowson & Landau 1982) between normal distributions of MFCCs 1 to 19 of pitched
frames.

The tracker is swift-f0 where it is installed (`pip install swift-f0`) and else pYIN, neither
of which the project uses for transfers.
"""

import argparse
import sys
from pathlib import Path

import librosa
import numpy as np
import soundfile
from scipy.linalg import sqrtm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from helpers import config
from helpers.analysis import audio as sound
from helpers.instruments import bundles
from helpers.transfer import session

try:
    from swift_f0 import SwiftF0
except ImportError:
    SwiftF0 = None

TRACKER = SwiftF0() if SwiftF0 else None
SURE = 0.9  # swift-f0's confidence, from which a frame counts as pitched
SAMPLE_RATE, HOP_SIZE, WINDOW = 16000, 256, 1024  # of the measure, whatever the instrument has
LOUDNESS_RANGE_DB = 60.0  # below the loudest frame
PIECE_SECONDS, EXCERPTS = 5, 5
FEWEST_FRAMES = 60  # pitched ones, for a distribution of 19 numbers
FOLDER = config.RESULTS / "transfer_quality"
SOUNDS = ("*.wav", "*.flac", "*.mp3", "*.ogg")
COLUMNS = {
    "target": "{}",
    "voice": "{}",
    "by": "{}",
    "octaves": "{:+d}",
    "median cents": "{:.1f}",
    "within 50 cents": "{:.3f}",
    "voiced kept": "{:.3f}",
    "loudness correlation": "{:.3f}",
    "to target": "{:,.0f}",
    "voice to target": "{:,.0f}",
    "real to real": "{:,.0f}",
}


def load(path):
    """A sound at 16 kHz, its peak at 0.5: loudness is no part of the timbre."""
    audio, _ = librosa.load(path, sr=SAMPLE_RATE)
    return 0.5 * audio / max(1e-9, np.abs(audio).max())


def track(audio):
    """Pitch in Hz, and which frames are surely pitched. Shapes [n_frames]."""
    if TRACKER:
        tracked = TRACKER.detect(audio, SAMPLE_RATE)
        return tracked.pitch_hz, tracked.confidence > SURE
    f0_hz, pitched, _ = librosa.pyin(
        audio,
        fmin=50,
        fmax=2000,
        sr=SAMPLE_RATE,
        frame_length=WINDOW,
        hop_length=HOP_SIZE,
        max_transition_rate=100,
    )
    return f0_hz, pitched


def timbre(audio):
    """MFCCs 1 to 19 of the pitched frames. Shape [n_pitched, 19]."""
    mfcc = librosa.feature.mfcc(
        y=audio, sr=SAMPLE_RATE, n_mfcc=20, n_fft=WINDOW, hop_length=HOP_SIZE
    )[1:]
    _, pitched = track(audio)
    n_frames = min(mfcc.shape[1], len(pitched))
    return mfcc[:, :n_frames][:, pitched[:n_frames]].T


def distance(a, b):
    """Fréchet's, squared, between normal distributions of two sets. Shapes [n, dims], [m, dims]."""
    a_covariance, b_covariance = np.cov(a.T), np.cov(b.T)
    shared = sqrtm(a_covariance @ b_covariance).real
    apart = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    return apart + np.trace(a_covariance + b_covariance - 2 * shared)


def loudness_db(audio):
    power = librosa.feature.rms(y=audio, frame_length=WINDOW, hop_length=HOP_SIZE)[0] ** 2
    return librosa.power_to_db(power, top_db=LOUDNESS_RANGE_DB)


def score(voice, played, target):
    """How well a transfer follows the voice, and how far both are from the target's timbre.

    Args:
      voice, played: Audio at 16 kHz; the longer is cut.
      target: Of its recordings, from `timbre`.

    Returns:
      By column of the table.
    """
    n_samples = min(len(voice), len(played))
    voice, played = voice[:n_samples], played[:n_samples]
    (voice_hz, voice_pitched), (played_hz, played_pitched) = track(voice), track(played)
    both = voice_pitched & played_pitched
    cents = 1200 * np.log2(played_hz[both] / voice_hz[both])
    octaves = round(np.median(cents) / 1200)
    off = np.abs(cents - 1200 * octaves)
    return {
        "octaves": octaves,
        "median cents": np.median(off),
        "within 50 cents": np.mean(off < 50),
        "voiced kept": np.sum(both) / max(1, np.sum(voice_pitched)),
        "loudness correlation": np.corrcoef(loudness_db(voice), loudness_db(played))[0, 1],
        "to target": distance(timbre(played), target),
        "voice to target": distance(timbre(voice), target),
    }


def pieces(recordings):
    """Pieces of 5 s, as lists of (number of the recording, audio).

    Each is cut from a recording; or, where all are shorter, as single notes are, it is a second
    of each of five: no phrase is all on one note.
    """
    size = PIECE_SECONDS * SAMPLE_RATE
    cut = [
        [(number, recording[start : start + size])]
        for number, recording in enumerate(recordings)
        for start in range(0, len(recording) - size + 1, size)
    ]
    return cut or notes_joined(recordings, size // EXCERPTS)


def notes_joined(recordings, size):
    random = np.random.default_rng(0)
    numbers = [number for number, recording in enumerate(recordings) if len(recording) > size]
    made = []
    for _ in numbers:
        chosen = random.choice(numbers, EXCERPTS, replace=False)
        starts = [random.integers(len(recordings[number]) - size) for number in chosen]
        made.append([(n, recordings[n][s : s + size]) for n, s in zip(chosen, starts, strict=True)])
    return made


def real_distances(recordings, timbres):
    """Distances of real pieces to the recordings that they are not from."""
    distances = []
    for piece in pieces(recordings):
        taken = {number for number, _ in piece}
        frames = np.concatenate([timbre(audio) for _, audio in piece])
        others = [each for number, each in enumerate(timbres) if number not in taken]
        if others and len(frames) >= FEWEST_FRAMES:
            distances.append(distance(frames, np.concatenate(others)))
    return distances


def play(instrument, voice, seconds, path):
    """Plays a voice on an instrument, with nothing set by hand, into a file."""
    audio, sample_rate = sound.load(voice, instrument.sample_rate)
    if seconds:
        audio = audio[: round(seconds * sample_rate)]
    played = session.transfer_audio(audio, sample_rate, instrument)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, played, instrument.sample_rate, subtype="FLOAT")


def scored(checkpoint, folder, options):
    """Rows of the table for one target, and a sentence on its recordings."""
    target = Path(checkpoint).name
    paths = sorted(path for pattern in SOUNDS for path in Path(folder).glob(pattern))
    recordings = [load(path) for path in paths]
    timbres = [timbre(recording) for recording in recordings]
    real = real_distances(recordings, timbres)
    instrument = bundles.load(config.CHECKPOINTS / checkpoint)
    rows = []
    for voice in options.voices:
        ours = FOLDER / "ours" / target / f"{voice.stem}.wav"
        play(instrument, voice, options.seconds, ours)
        for by in (FOLDER / "ours", *options.peer):
            path = by / target / f"{voice.stem}.wav"
            if path.is_file():
                row = score(load(voice), load(path), np.concatenate(timbres))
                names = {"target": target, "voice": voice.stem, "by": by.name}
                rows.append(names | row | {"real to real": np.median(real or [np.nan])})
    spread = "there is nothing to compare its recordings with"
    if real:
        spread = f"{len(real)} real pieces score {min(real):,.0f} to {max(real):,.0f}"
    return rows, f"{target}: {len(paths)} recordings; {spread}."


def table(rows):
    """The rows as Markdown."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS)]
    lines += [[form.format(row[name]) for name, form in COLUMNS.items()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="+", metavar="CHECKPOINT=FOLDER")
    shipped = sorted((config.DATA / "voice").glob("*.flac"))
    parser.add_argument("--voices", nargs="+", type=Path, default=shipped, metavar="FILE")
    parser.add_argument("--seconds", type=float, help="of each voice, from its beginning")
    parser.add_argument("--peer", nargs="+", type=Path, default=[], metavar="FOLDER")
    options = parser.parse_args()
    rows, notes = [], [f"Tracker: {'swift-f0' if TRACKER else 'pYIN'}."]
    for target in options.targets:
        more, note = scored(*target.split("=", 1), options)
        rows += more
        notes.append(note)
    text = "\n\n".join([table(rows), *notes])
    (FOLDER / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
