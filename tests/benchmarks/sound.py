"""How an instrument sounds beside held-out recordings of the real one.

    python tests/benchmarks/sound.py --audio FOLDER --bundles violin flute [--peers FOLDER]
        [--also violin=BUNDLE ...] [--sounds violin=FOLDER ...]

FOLDER of `--audio` has a folder of recordings for each instrument; that of the bundle `violin_44k`
is `violin`. A bundle is a name in checkpoints/, or in the folder that `--peers` gives, where
bundles of the same names are measured beside those in checkpoints/. `--also` takes bundles of any
name, such as one of ddsp's own model that was trained on the same recordings (configuration
`ddsp`). `--sounds` takes what anything else makes of the recordings, in files that are named as
those in the folder `recording` of the results.

Each bundle resynthesises what is held out, from refined f0 and loudness alone, with no settings
of transfer. Of recordings of a minute or more the last 30 s are held out, of a folder of single
notes the second note and each tenth after it. What the instruments that ship have learned of
these is told beside the table. Two rows stand beside the bundles: *analysis*, what
`analysis.harmonics` finds, put together again, which is as near as harmonics and noise can come;
and *two halves*, one half of the recording against the other, in alternating pieces: the floor.

Columns, all but the last four in frames whose pitch CREPE is sure of:
  eight bands: the level against the recording's, in dB, up to the recording's own band edge;
  below f0: the level from 20 Hz to 0.7 f0 against the recording's, in dB;
  harmonic: share of the power that is on the harmonics, in three bands, from `analysis.harmonics`
    with a window of 46 ms, and in brackets the recording's own; empty where neither has power;
  MFCC: Frechet distance of MFCCs 1 to 19 at 16 kHz between one half of the recording and the other
    half as it is played, with as many frames of each semitone in both;
  MusiCNN: the same of an embedding of pieces of 1 s;
  loudness: Loudness L1 in dB; F0: F0 L1 in semitones, both by CREPE without refining, as in
    `evaluation.metrics`;
  step: milliseconds from one note to the next, at the changes of the recording, and in brackets
    the recording's own; medians (`evaluation.note_steps`);
  spectral: the multi-scale spectral loss up to the band edge.
The two halves play other notes: they have no loudness, F0, step and spectral loss.
`table.md` has the tables, `figures.json` the same figures as numbers.

The embedding is the penultimate layer of MusiCNN (Pons and Serra, 2019; MTT_musicnn, ISC licence),
as its weights come with its package: `pip install --no-deps musicnn`. Without it the column is
empty. CLAP, VGGish, EnCodec and PANNs download their weights from elsewhere.
"""

import argparse
import functools
import importlib.util
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import scipy.ndimage

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import features, harmonics, pitch
from helpers.evaluation import metrics, note_steps, spectrum
from helpers.evaluation.spectrum import BANDS_HZ, SHARE_BANDS_HZ, Recording
from helpers.instruments import bundles
from helpers.synthesis import losses
from helpers.tensorflow_import import tf

SAMPLE_RATE, FRAME_RATE = 44100, 100  # of the measure, whatever the instrument has
HOP = SAMPLE_RATE // FRAME_RATE
LONG_SECONDS, LAST_SECONDS = 60.0, 30.0
FIRST_NOTE, EVERY_NOTE = 1, 10  # of single notes: those that `training.dataset` holds out
NOISE_EDGES_HZ = np.linspace(0.0, SAMPLE_RATE / 2, 178)  # of the row "analysis"
SMOOTHED_FRAMES = 9  # of its noise
SPECTRAL_SIZES = (5632, 2816, 1408, 704, 352, 176)  # those of the paper, in ms, at 44.1 kHz
SPECTRAL_SECONDS = 2.0
PIECE_SECONDS = 5.0  # of long recordings; of single notes 1 s
EMBEDDED_SECONDS, EMBEDDED_HOP_SECONDS = 1.0, 0.25
FORMS = {
    "MFCC": "{:,.0f}",
    "MusiCNN": "{:.2f}",
    "loudness": "{:.2f}",
    "F0": "{:.3f}",
    "step": "{:.0f}",
    "spectral": "{:.2f}",
}
MUSICNN_RATE, MUSICNN_HOP, MUSICNN_FFT, MUSICNN_MELS = 16000, 256, 512, 96
SHARES_OF_BANDS = ((0, 3), (3, 6), (6, 8))  # the bands of levels in each band of harmonic shares
NOTHING = 1e-9  # share of a recording's power that stands for none
FOLDER = config.RESULTS / "sound"


@dataclass(frozen=True)
class HeldOut:
    """What is held out of the recordings of an instrument.

    Attributes:
      recordings: Examined.
      piece_seconds: Of the pieces of both halves.
      sentence: What is held out, and what was learned of it.
    """

    recordings: list[Recording]
    piece_seconds: float
    sentence: str

    @property
    def sounds(self):
        return [recording.audio for recording in self.recordings]

    @functools.cached_property
    def features(self):
        return [metrics.measure(audio, SAMPLE_RATE, FRAME_RATE) for audio in self.sounds]

    @functools.cached_property
    def powers(self):
        spectra = [recording.power for recording in self.recordings]
        sure = [recording.sure for recording in self.recordings]
        return spectrum.band_powers(self.recordings, spectra, sure)

    @functools.cached_property
    def shares(self):
        return spectrum.harmonic_shares(self.recordings, self.sounds)

    @functools.cached_property
    def changes(self):
        return [note_steps.changes(recording) for recording in self.recordings]

    @functools.cached_property
    def step_ms(self):
        return step_ms(self, self.sounds)


def held_out(folder):
    """The `HeldOut` of a folder of recordings."""
    paths = sound.find(folder)
    durations = [librosa.get_duration(path=path) for path in paths]
    if max(durations) < LONG_SECONDS:
        chosen, last_seconds, piece_seconds = paths[FIRST_NOTE::EVERY_NOTE], None, 1.0
        sentence = (
            f"{', '.join(path.stem for path in chosen)}; training holds these out too, so that "
            "no instrument has learned them."
        )
    else:
        chosen = [p for p, seconds in zip(paths, durations, strict=True) if seconds >= LONG_SECONDS]
        last_seconds, piece_seconds = LAST_SECONDS, PIECE_SECONDS
        sentence = (
            f"the last {LAST_SECONDS:.0f} s of {', '.join(path.stem for path in chosen)}; an "
            "instrument that was trained on these files as they are has learned them, except where "
            "a segment of 20 s that training held out lies there (the second of all, and each "
            "tenth after it)."
        )
    recordings = [examined(*_with_edge(path, last_seconds)) for path in chosen]
    return HeldOut(recordings, piece_seconds, sentence)


def _with_edge(path, last_seconds):
    audio, _ = sound.load(path, SAMPLE_RATE)
    edge_hz = harmonics.find_band_edge_hz(audio, SAMPLE_RATE)
    return (audio[-round(last_seconds * SAMPLE_RATE) :] if last_seconds else audio), edge_hz


def examined(audio, edge_hz):
    """A `Recording` of audio."""
    curves = features.extract(audio, SAMPLE_RATE, FRAME_RATE, cached=True)
    sure = curves.voiced & (curves.confidence >= metrics.SURE_CONFIDENCE)
    f0_hz = pitch.fill_unvoiced(curves.f0_hz)
    return Recording(audio, SAMPLE_RATE, FRAME_RATE, f0_hz, sure, edge_hz)


def halves(recording, piece_seconds):
    """0 and 1 in alternating pieces. Shape [n_frames]."""
    frames = np.arange(len(recording.f0_hz))
    return (frames // (piece_seconds * FRAME_RATE)).astype(int) % 2


def resynthesised(instrument, audio):
    """What an instrument plays of the features of audio, at 44.1 kHz. Shape as audio."""
    rate = instrument.sample_rate
    at_rate = sound.resample(audio, SAMPLE_RATE, rate)
    curves = features.extract(at_rate, rate, instrument.frame_rate, cached=True)
    played = [pitch.fill_unvoiced(curves.f0_hz), curves.loudness_db]
    if instrument.z_dims:
        played.append(instrument.encode(at_rate)[: len(played[0])])
    return librosa.util.fix_length(
        sound.resample(instrument.play(*played), rate, SAMPLE_RATE), size=len(audio)
    )


def from_analysis(recording):
    """A recording's harmonics and noise put together again. Shape [n_samples]."""
    f0_hz, n_samples = recording.f0_hz.astype(float), len(recording.audio)
    n_harmonics = int(SAMPLE_RATE / 2 / f0_hz.min())
    size, edges_hz = 1024, NOISE_EDGES_HZ
    found = harmonics.analyze(
        recording.audio, f0_hz, SAMPLE_RATE, FRAME_RATE, n_harmonics, edges_hz
    )
    frames, at = np.arange(len(f0_hz)), np.arange(n_samples) / HOP
    phase = 2 * np.pi * np.cumsum(np.interp(at, frames, f0_hz)) / SAMPLE_RATE
    amplitudes = np.sqrt(2 * np.maximum(found.harmonic_power, 0.0))
    played = np.zeros(n_samples)
    for k, amplitude in enumerate(amplitudes.T, 1):
        played += np.interp(at, frames, amplitude) * np.cos(k * phase + 1.7 * k * k)
    white = np.random.default_rng(0).standard_normal(n_samples)
    noise = librosa.stft(white, n_fft=size, hop_length=HOP)
    bins_hz = librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=size)
    # What one frame shows of noise varies as the noise made from it does: twice is too much.
    # A running sum may leave a little less than nothing.
    smooth = scipy.ndimage.uniform_filter1d(found.band_density, SMOOTHED_FRAMES, axis=0).clip(0)
    for i, column in enumerate(noise.T):
        density = np.interp(bins_hz, (edges_hz[1:] + edges_hz[:-1]) / 2, smooth[i])
        column *= np.sqrt(density * SAMPLE_RATE / 2)
    return played + librosa.istft(noise, hop_length=HOP, length=n_samples)


def mfcc_distance(recordings, sounds, piece_seconds):
    """Frechet distance from one half of the recordings to the other half as it is played."""
    real, semitones, sure, half, played = [], [], [], [], []
    for recording, audio in zip(recordings, sounds, strict=True):
        of_recording, frames = spectrum.mfccs(recording.audio, recording)
        real.append(of_recording)
        played.append(spectrum.mfccs(audio, recording)[0])
        semitones.append(np.round(librosa.hz_to_midi(recording.f0_hz[frames])).astype(int))
        sure.append(recording.sure[frames])
        half.append(halves(recording, piece_seconds)[frames])
    real, semitones, sure, half, played = map(np.concatenate, (real, semitones, sure, half, played))
    here, there = matched(
        semitones, np.flatnonzero(sure & (half == 0)), np.flatnonzero(sure & (half == 1))
    )
    return spectrum.frechet_distance(real[here], played[there])


def matched(semitones, here, there):
    """Of two sets of frames as many of each semitone."""
    random = np.random.default_rng(0)
    chosen = [], []
    for semitone in np.intersect1d(semitones[here], semitones[there]):
        sets = [frames[semitones[frames] == semitone] for frames in (here, there)]
        n = min(map(len, sets))
        for some, frames in zip(chosen, sets, strict=True):
            some.append(random.choice(frames, n, replace=False))
    return [np.concatenate(some) for some in chosen]


class Musicnn:
    """The embedding; empty where its package is not installed."""

    def __init__(self):
        found = importlib.util.find_spec("musicnn")
        self._session = None
        if not found:
            return
        from musicnn import models

        n_frames = 1 + round(EMBEDDED_SECONDS * MUSICNN_RATE) // MUSICNN_HOP
        graph = tf.Graph()
        with graph.as_default():
            with tf.name_scope("model"):
                self._patches = tf.compat.v1.placeholder(tf.float32, [None, n_frames, MUSICNN_MELS])
                *_, self._embedding = models.define_model(self._patches, False, "MTT_musicnn", 50)
            self._session = tf.compat.v1.Session(graph=graph)
            folder = Path(found.submodule_search_locations[0]) / "MTT_musicnn"
            tf.compat.v1.train.Saver().restore(self._session, f"{folder}/")

    def distance(self, recordings, sounds, piece_seconds):
        """Frechet distance from one half of the recordings to the other half as it is played."""
        if not self._session:
            return np.nan
        real = [recording.audio for recording in recordings]
        return spectrum.frechet_distance(
            self._embed(_pieces(real, piece_seconds, 0)),
            self._embed(_pieces(sounds, piece_seconds, 1)),
        )

    def _embed(self, pieces):
        n_frames, hop = self._patches.shape[1], EMBEDDED_HOP_SECONDS * MUSICNN_RATE / MUSICNN_HOP
        found = []
        for piece in pieces:
            power = librosa.feature.melspectrogram(
                y=sound.resample(piece, SAMPLE_RATE, MUSICNN_RATE),
                sr=MUSICNN_RATE,
                hop_length=MUSICNN_HOP,
                n_fft=MUSICNN_FFT,
                n_mels=MUSICNN_MELS,
            )
            frames = np.log10(10000 * power.T + 1)
            starts = np.arange(0, len(frames) - n_frames + 1, hop).astype(int)
            patches = np.stack([frames[start : start + n_frames] for start in starts])
            found.append(self._session.run(self._embedding, {self._patches: patches}))
        return np.concatenate(found)


def _pieces(sounds, piece_seconds, half):
    """The pieces of one half of sounds, those of full length."""
    size = round(piece_seconds * SAMPLE_RATE)
    starts = [(audio, start) for audio in sounds for start in range(0, len(audio) - size + 1, size)]
    return [audio[start : start + size] for audio, start in starts if start // size % 2 == half]


def followed(held, sounds):
    """Loudness L1 in dB and F0 L1 in semitones."""
    rows = [
        metrics.compare(original, metrics.measure(audio, SAMPLE_RATE, FRAME_RATE))
        for original, audio in zip(held.features, sounds, strict=True)
    ]
    means = metrics.means(rows)
    return means["loudness_l1_db"], means["f0_l1_semitones"]


def step_ms(held, sounds):
    """Median of the milliseconds that sounds take from note to note; NaN without any change."""
    found = [
        note_steps.step_ms(audio, SAMPLE_RATE, change)
        for audio, changes in zip(sounds, held.changes, strict=True)
        for change in changes
    ]
    return np.nanmedian(found) if np.isfinite(found).any() else np.nan


def spectral_loss(recordings, sounds):
    """Mean of the multi-scale spectral loss over pieces of 2 s, each up to the band edge.

    Above the edge a recording holds next to nothing, and the logarithm of nothing is no quality.
    """
    found = []
    for recording, audio in zip(recordings, sounds, strict=True):
        rate = min(SAMPLE_RATE, round(2 * recording.band_edge_hz))
        # The loss takes windows of multiples of 4 samples.
        sizes = [4 * round(size * rate / SAMPLE_RATE / 4) for size in SPECTRAL_SIZES]
        loss = losses.FusedSpectralLoss(sizes, logmag_weight=1.0, sample_rate=rate)
        pair = [sound.resample(x, SAMPLE_RATE, rate) for x in (recording.audio, audio)]
        size = round(SPECTRAL_SECONDS * rate)
        for start in range(0, len(pair[0]) - size + 1, size):
            pieces = [tf.constant(x[np.newaxis, start : start + size], tf.float32) for x in pair]
            found.append(float(loss(*pieces)))
    return np.mean(found)


def measured(held, sounds, musicnn):
    """A row of the table: sounds beside the recordings that they resynthesise."""
    recordings = held.recordings
    loudness_db, f0_semitones = followed(held, sounds)
    levels_db = spectrum.level_differences_db(recordings, sounds)
    shares = spectrum.harmonic_shares(recordings, sounds)
    played = held.powers * 10 ** (levels_db / 10)
    for i, (first, end) in enumerate(SHARES_OF_BANDS):
        loudest = max(np.nansum(powers[first:end]) for powers in (held.powers, played))
        if loudest < NOTHING * np.nansum(held.powers):
            shares[i] = np.nan
    return _row(
        levels_db,
        zip(shares, held.shares, strict=True),
        mfcc_distance(recordings, sounds, held.piece_seconds),
        musicnn.distance(recordings, sounds, held.piece_seconds),
        loudness_db,
        f0_semitones,
        (step_ms(held, sounds), held.step_ms),
        spectral_loss(recordings, sounds),
    )


def two_halves(held, musicnn):
    """The floor: a row of one half of the recordings against the other."""
    recordings, piece_seconds = held.recordings, held.piece_seconds
    spectra, means = [recording.power for recording in recordings], []
    for half in (0, 1):
        frames = [r.sure & (halves(r, piece_seconds) == half) for r in recordings]
        means.append(
            spectrum.band_powers(recordings, spectra, frames) / np.sum(np.concatenate(frames))
        )
    return _row(
        10 * np.log10(means[1] / means[0]),
        zip(held.shares, held.shares, strict=True),
        mfcc_distance(recordings, held.sounds, piece_seconds),
        musicnn.distance(recordings, held.sounds, piece_seconds),
        np.nan,
        np.nan,
        (np.nan, held.step_ms),
        np.nan,
    )


def _row(levels_db, shares, *rest):
    """Figures by column; a pair has the recording's own in second place."""
    bands = [f"{low / 1000:g}-{high / 1000:g}" for low, high in itertools.pairwise(BANDS_HZ)]
    row = dict(zip([*bands, "below f0"], levels_db, strict=True))
    for (low, high), pair in zip(SHARE_BANDS_HZ, shares, strict=True):
        row[f"harmonic {low / 1000:g}-{high / 1000:g}"] = pair
    return row | dict(zip(FORMS, rest, strict=True))


def _shown(row):
    """A row as texts, empty where there is no figure."""
    texts = {}
    for name, value in row.items():
        form = FORMS.get(name, "{:.2f}" if name.startswith("harmonic") else "{:+.1f}")
        value, *own = value if isinstance(value, tuple) else (value,)
        texts[name] = form.format(value) if np.isfinite(value) else ""
        if texts[name] and own:
            texts[name] += f" ({form.format(own[0])})"
    return texts


def _numbers(row):
    """A row for JSON: None where there is no figure, and pairs as their own entries."""
    numbers = {}
    for name, value in row.items():
        value, *own = value if isinstance(value, tuple) else (value,)
        numbers[name] = float(value) if np.isfinite(value) else None
        if own:
            numbers[f"{name} of the recording"] = float(own[0]) if np.isfinite(own[0]) else None
    return numbers


def recordings_of(name, folder):
    """The folder of recordings that a bundle of this name is measured by."""
    fitting = [path for path in folder.iterdir() if path.is_dir() and name.startswith(path.name)]
    if not fitting:
        raise SystemExit(f"{folder} has no recordings for {name}: add a folder {name}.")
    return max(fitting, key=lambda path: len(path.name))


def main():
    """See the module's docstring."""
    options = _options()
    musicnn, tables, figures = Musicnn(), [], {}
    for folder, players in _players(options).items():
        held = held_out(folder)
        _keep(held.sounds, options.save / folder.name / "recording")
        rows = {}
        for name, play in players:
            sounds = [
                play(number, recording) for number, recording in enumerate(held.recordings, 1)
            ]
            _keep(sounds, options.save / folder.name / name)
            rows[name] = measured(held, sounds, musicnn)
        rows["two halves"] = two_halves(held, musicnn)
        edge_hz = min(recording.band_edge_hz for recording in held.recordings)
        shown = pd.DataFrame({name: _shown(row) for name, row in rows.items()}).T
        tables += [
            f"{folder.name}: {held.sentence} Band edge: {edge_hz:,.0f} Hz.",
            shown.to_markdown(disable_numparse=True),
        ]
        figures[folder.name] = {"held_out": held.sentence, "band_edge_hz": edge_hz} | {
            "rows": {name: _numbers(row) for name, row in rows.items()}
        }
        print("\n\n".join(tables[-2:]), flush=True)
    (options.save / "table.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    (options.save / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _players(options):
    """Folder of recordings to what plays them: pairs of a name and of a function of recordings."""
    players = {}
    for name in options.bundles:
        of_folder = players.setdefault(recordings_of(name, options.audio), [])
        for path in (config.CHECKPOINTS / name, *(peer / name for peer in options.peers)):
            if path.exists():
                of_folder.append((_name(path), _bundle(path)))
    for make, pairs in ((_bundle, options.also), (_files, options.sounds)):
        for pair in pairs:
            name, path = pair.split("=", 1)
            of_folder = players.setdefault(recordings_of(name, options.audio), [])
            of_folder.append((_name(Path(path)), make(Path(path))))
    for of_folder in players.values():
        of_folder.append(("analysis", lambda number, recording: from_analysis(recording)))
    return players


def _name(path):
    """A name for a row: where it is from, too, unless it ships."""
    return path.name if path.parent == config.CHECKPOINTS else f"{path.name} ({path.parent.name})"


def _bundle(path):
    instrument = functools.cache(lambda: bundles.load(path))
    return lambda number, recording: resynthesised(instrument(), recording.audio)


def _files(folder):
    def read(number, recording):
        audio, _ = sound.load(folder / f"{number}.flac", SAMPLE_RATE)
        return librosa.util.fix_length(audio, size=len(recording.audio))

    return read


def _keep(sounds, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number, audio in enumerate(sounds, 1):
        sound.save(folder / f"{number}.flac", audio, SAMPLE_RATE)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--audio", type=Path, required=True, help="folder with a folder for each instrument")
    add("--bundles", nargs="*", default=[], metavar="NAME")
    add("--peers", nargs="+", type=Path, default=[], metavar="FOLDER", help="of other bundles")
    add("--also", nargs="+", default=[], metavar="NAME=BUNDLE", help="bundles of any name")
    add("--sounds", nargs="+", default=[], metavar="NAME=FOLDER", help="what others made")
    add("--save", type=Path, default=FOLDER, metavar="FOLDER", help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
