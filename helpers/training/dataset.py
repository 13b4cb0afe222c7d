"""A folder of recordings to examples that a model is trained on, and statistics of them.

A dataset is a folder of two arrays in NumPy's format, `train.npy` and `heldout.npy`, and
`dataset.json`. A record of an array is an example of `EXAMPLE_SECONDS`: `audio` [n_samples], and
`f0_hz`, `f0_confidence` and `loudness_db` [1 + n_samples // hop], all float32. Examples for an
instrument that learns from an analysis have the targets of `targets.find` too. Arrays are written
while the recordings are analysed and are mapped into memory when they are read, so that ten hours
of recordings take no more memory than ten minutes.
"""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import librosa
import numpy as np
from tqdm.auto import tqdm

from helpers.analysis import audio as sound
from helpers.analysis import features, harmonics, pitch
from helpers.config import DB_PER_NEPER, FRAME_RATE, SAMPLE_RATE
from helpers.errors import InputError
from helpers.files import recover, replacing_folder
from helpers.training import targets

EXAMPLE_SECONDS = 4.0
OVERLAP_SECONDS = 2.0
SEGMENT_SECONDS = 20.0  # held-out data is whole segments, so that no example has a neighbour in it
HELDOUT_EVERY = 10  # segments, from the second on, so that two are enough
LEAST_VOICED = 0.1  # share of voiced frames below which an example teaches nothing
FIELDS = ("audio", "f0_hz", "f0_confidence", "loudness_db")
LOGARITHMS = ("harmonic_log_power", "noise_log_density")  # targets, NaN where they are not known
# What fields have in the silence after a short segment, if not 0.
SILENCE = {"loudness_db": features.LOUDNESS_FLOOR_DB, **dict.fromkeys(LOGARITHMS, np.nan)}
HELD = ("f0_hz", "bandwidth_hz")  # fields that keep their last value there, and are above 0
FILES = ("train.npy", "heldout.npy", "dataset.json")
# Of datasets before they were arrays; one of them is replaced where the new one is to be.
FORMER_FILES = ("train.tfrecord", "heldout.tfrecord", "statistics.json", "passed_over.json")

NO_NOISE = np.log(1e-16)  # power for each Hz, at a loudness of 0 dB, where no noise is found

VERSION = 2  # of the format
DIGEST_BYTES = 4  # of the hash of each array
HASHED_AT_ONCE = 2**20  # bytes of a recording

Group = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """What a dataset is made of.

    Attributes:
      recordings: A hash of the names and the content of all sound files.
      sample_rate: Of the examples' audio, in Hz.
      frame_rate: Feature frames a second.
      crepe_model: CREPE's size for the pitch.
      n_harmonics: Harmonics of the targets; 0 without targets.
      n_noise_bands: Bands of noise of the targets; 0 without targets.
    """

    recordings: str
    sample_rate: int
    frame_rate: int
    crepe_model: str
    n_harmonics: int = 0
    n_noise_bands: int = 0

    @property
    def hop_size(self) -> int:
        """Samples from one frame to the next."""
        return features.hop_size(self.sample_rate, self.frame_rate)

    @property
    def analysis(self) -> targets.Analysis:
        """How the targets are found."""
        return targets.Analysis(
            self.sample_rate, self.frame_rate, self.n_harmonics, self.n_noise_bands
        )


@dataclass(frozen=True)
class Dataset:
    """Examples ready for training.

    Attributes:
      train, heldout: Field name to array: audio [n_examples, n_samples], the features
        [n_examples, 1 + n_samples // hop], and the targets, if there are any. They are read from
        disk when they are used.
      statistics: Pitch range and loudness percentiles of the training examples, their sample and
        frame rate, and how many files they are from. With targets also `band_edge_hz`, the highest
        band edge of the recordings.
      passed_over: File, relative to the folder of recordings, to the sentence that says why it was
        left out.
      source: What it is made of; None for one that was not made of recordings.
    """

    train: Group
    heldout: Group
    statistics: dict
    passed_over: dict = field(default_factory=dict)
    source: Source | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen letters and digits, the same only for examples that are the same."""
        found = [hashlib.blake2b(digest_size=DIGEST_BYTES) for _ in range(2)]
        for hashed, group in zip(found, (self.train, self.heldout), strict=True):
            names = [*FIELDS, *(name for name in targets.DTYPES if name in group)]
            for example in zip(*(group[name] for name in names), strict=True):
                for name, values in zip(names, example, strict=True):
                    dtype = targets.DTYPES.get(name, "<f4")
                    hashed.update(np.ascontiguousarray(values, dtype).data)
        return "".join(hashed.hexdigest() for hashed in found)

    def check(self) -> None:
        """Reads all examples.

        Raises:
          InputError: A value in them is not finite (of a target: infinite), or an f0 is not above
            0 Hz.
        """
        _check(self.train)
        _check(self.heldout)


def source_of(
    folder: str | Path,
    sample_rate: int = SAMPLE_RATE,
    frame_rate: int = FRAME_RATE,
    crepe_model: str = "tiny",
    *,
    n_harmonics: int = 0,
    n_noise_bands: int = 0,
) -> Source:
    """The `Source` of the dataset that `prepare` makes with the same arguments.

    Raises:
      InputError: There is no such folder, or no sound file in it.
    """
    recordings = hashlib.blake2b(digest_size=16)
    for path in sound.find(folder):
        recordings.update(os.fsencode(path.relative_to(folder).as_posix()))
        with contextlib.suppress(OSError), path.open("rb") as file:  # `prepare` passes it over
            while block := file.read(HASHED_AT_ONCE):
                recordings.update(block)
    return Source(
        recordings.hexdigest(), sample_rate, frame_rate, crepe_model, n_harmonics, n_noise_bands
    )


def prepare(
    folder: str | Path,
    save_folder: str | Path,
    sample_rate: int = SAMPLE_RATE,
    frame_rate: int = FRAME_RATE,
    crepe_model: str = "tiny",
    workers: int = 2,
    n_harmonics: int = 0,
    n_noise_bands: int = 0,
) -> Dataset:
    """Makes a dataset of all recordings in a folder, and saves it.

    Each file is mixed to mono and resampled; one that cannot be used is named and passed over.
    Examples of 4 s, every 2 s, are cut from segments of at most 20 s; the second segment with a
    pitch is held out, and each tenth after it. Pitch and targets are kept in `config.CACHE`: after
    an interrupt, and with files added, only what is new is analysed.

    Args:
      folder: Where the recordings are.
      save_folder: Where the dataset goes; a dataset that is there is replaced when the new one is
        complete.
      sample_rate: Hz.
      frame_rate: Feature frames a second.
      crepe_model: CREPE's size for the pitch.
      workers: Files that are analysed at a time.
      n_harmonics: Harmonics of the targets, for an instrument that learns from an analysis
        (`targets.find`); 0 without targets.
      n_noise_bands: Bands of noise of the targets; 0 without targets.

    Returns:
      A `Dataset`.

    Raises:
      InputError: There is too little to learn from in the folder, a frame would not be a whole
        number of samples, or `save_folder` holds something else than a dataset or cannot be
        written to.
    """
    files = sound.find(folder)
    sizes = {"n_harmonics": n_harmonics, "n_noise_bands": n_noise_bands}
    source = source_of(folder, sample_rate, frame_rate, crepe_model, **sizes)
    layout = _layout(source)
    analysed = features.extract_files(
        files, sample_rate, frame_rate, crepe_model=crepe_model, workers=workers
    )
    passed_over: dict[str, str] = {}
    band_edges_hz: dict[str, float] = {}
    with (
        replacing_folder(save_folder, (*FILES, *FORMER_FILES)) as unfinished,
        contextlib.closing(analysed),  # its progress bar ends before an error is printed
    ):
        segments = _segments(analysed, folder, source, passed_over, band_edges_hz)
        n_segments, fingerprint = _write(segments, layout, unfinished)
        if not n_segments:
            raise InputError(f"No file in {folder} can be used: {next(iter(passed_over.values()))}")
        if n_segments < 2:
            raise InputError(
                "There is too little with a pitch in these recordings: give at least a minute of "
                "one instrument playing single notes (no chords), in two or more files or one long "
                "one."
            )
        made = {
            "version": VERSION,
            "fingerprint": fingerprint,
            "files": len(files) - len(passed_over),
            "source": asdict(source),
            "passed_over": passed_over,
        }
        if n_harmonics:
            made["band_edges_hz"] = band_edges_hz
        text = json.dumps(made, indent=2)  # in ASCII: a file's name may be no valid Unicode
        (unfinished / "dataset.json").write_text(text + "\n", encoding="ascii")
    return load(save_folder)


def load(folder: str | Path) -> Dataset:
    """Opens the dataset that `prepare` saved, and reads it once to see that it is whole.

    Raises:
      InputError: There is none, or it is damaged or of an earlier version.
    """
    folder = Path(folder)
    recover(folder.parent)
    if any((folder / name).is_file() for name in FORMER_FILES):
        raise InputError(
            f"The dataset in {folder} was prepared by an earlier version: prepare it again."
        )
    if not all((folder / name).is_file() for name in FILES):
        raise InputError(f"There is no dataset in {folder}: prepare one first.")
    try:
        dataset, fingerprint = _read(folder)
        if dataset.fingerprint != fingerprint:
            raise ValueError("the arrays are not those that were written")
    except Exception as error:  # JSON and NumPy have one for each way in which a file is damaged
        raise InputError(f"The dataset in {folder} is damaged: prepare it again.") from error
    return dataset


def _read(folder: Path) -> tuple[Dataset, str]:
    """A dataset, and the fingerprint that it was written with."""
    made = json.loads((folder / "dataset.json").read_text(encoding="ascii"))
    if made["version"] != VERSION:
        raise ValueError(f"version {made['version']}")
    source = Source(**made["source"])
    layout = _layout(source)
    train, heldout = (_open(folder / name, layout) for name in FILES[:2])
    _check(train)
    _check(heldout)
    statistics = {
        "feature_profile": features.PROFILE,
        "sample_rate": source.sample_rate,
        "frame_rate": source.frame_rate,
        "files": int(made["files"]),
        **_statistics(train),
    }
    if source.n_harmonics:
        statistics["band_edge_hz"] = float(max(made["band_edges_hz"].values()))
    passed_over = {str(name): str(reason) for name, reason in made["passed_over"].items()}
    return Dataset(train, heldout, statistics, passed_over, source), made["fingerprint"]


def _layout(source: Source) -> np.dtype:
    """The dtype of an example."""
    n_hops = int(EXAMPLE_SECONDS * source.frame_rate)
    lengths = dict.fromkeys(FIELDS, 1 + n_hops)
    lengths["audio"] = n_hops * source.hop_size
    shapes = source.analysis.shapes(1 + n_hops)
    return np.dtype(
        [(name, "<f4", (length,)) for name, length in lengths.items()]
        + [(name, targets.DTYPES[name], shape) for name, shape in shapes.items()]
    )


def _open(path: Path, layout: np.dtype) -> Group:
    """The fields of the examples in a file, mapped into memory."""
    records = np.lib.format.open_memmap(path, mode="r")
    if records.dtype != layout or records.ndim != 1 or not len(records):
        raise ValueError(f"{path.name} holds no examples of these rates")
    return {name: records[name] for name in layout.names or ()}


def _check(group: Group) -> None:
    for name, examples in group.items():
        for values in examples:
            if not _is_valid(name, values):
                raise InputError(
                    f"The dataset is damaged (its {name} has values that are no valid numbers): "
                    "prepare it again."
                )


def _is_valid(name: str, values: np.ndarray) -> bool:
    if name in LOGARITHMS:
        return not np.isinf(values).any()
    return bool(np.isfinite(values).all() and (name not in HELD or values.min() > 0))


def _segments(analysed, folder, source, passed_over, band_edges_hz) -> Iterator[list[Group]]:
    """Yields the examples of each segment of each file.

    Adds the names of files without examples to `passed_over`, and with targets those of all others
    to `band_edges_hz`.
    """
    for path, file in analysed:
        name = path.relative_to(folder).as_posix()
        try:
            whole = _fields(*file.result())
            edge_hz = None
            if source.n_harmonics:
                edge_hz = harmonics.find_band_edge_hz(whole["audio"], source.sample_rate)
            n_segments = 0
            for segment in _cut_up(whole, source, edge_hz):
                examples = _examples(segment, source)
                n_segments += bool(examples)
                if examples:
                    yield examples
            if not n_segments:
                raise InputError(
                    f"{path.name} has hardly any note in it: give recordings of one instrument "
                    "that plays one note at a time."
                )
            if edge_hz is not None:
                band_edges_hz[name] = edge_hz
        except InputError as error:
            passed_over[name] = str(error)
            tqdm.write(f"Passed over: {error}")


def _fields(audio: np.ndarray, of_audio: features.Features) -> Group:
    """What a dataset keeps of a recording."""
    return {
        "audio": audio,
        "f0_hz": pitch.fill_unvoiced(of_audio.f0_hz),
        "f0_confidence": np.where(of_audio.voiced, of_audio.confidence, 0.0),
        "loudness_db": of_audio.loudness_db,
    }


def _cut_up(whole: Group, source: Source, band_edge_hz: float | None) -> Iterator[Group]:
    """Yields equal segments of at most 20 s, with their targets; leaves out what has no pitch."""
    hop = source.hop_size
    n_hops = len(whole["audio"]) // hop
    n_segments = int(np.ceil(n_hops / (SEGMENT_SECONDS * source.frame_rate)))
    edges = np.linspace(0, n_hops, n_segments + 1).astype(int)
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        segment = _cut(whole, start, end, hop)
        if not _voiced(segment).any():
            continue
        if band_edge_hz is not None:
            of_audio = whole["audio"], whole["f0_hz"], whole["f0_confidence"]
            frames = slice(start, end + 1)
            segment |= targets.find(*of_audio, frames, band_edge_hz, source.analysis)
        yield segment


def _cut(fields: Group, start: int, end: int, hop: int) -> dict[str, np.ndarray]:
    """Audio from one frame to another, and the features of both and of all between them."""
    cut = {name: values[start : end + 1] for name, values in fields.items()}
    return cut | {"audio": fields["audio"][start * hop : end * hop]}


def _examples(segment: Group, source: Source) -> list[Group]:
    """Overlapping examples of one length from a segment, those without pitch left out."""
    hop = source.hop_size
    length = int(EXAMPLE_SECONDS * source.frame_rate)
    step = length - int(OVERLAP_SECONDS * source.frame_rate)
    segment = _pad(segment, length, hop)
    last = len(segment["audio"]) // hop - length
    starts = sorted({*range(0, last + 1, step), last})
    cuts = [_cut(segment, start, start + length, hop) for start in starts]
    return [cut for cut in cuts if np.mean(_voiced(cut)) >= LEAST_VOICED]


def _voiced(group: Group) -> np.ndarray:
    """Where a pitch sounds, but for the last frame, which is the first of what follows."""
    return group["f0_confidence"][..., :-1] > 0


def _pad(segment: Group, length: int, hop: int) -> Group:
    """A segment with silence after it where it is shorter than an example."""
    missing = max(0, length - len(segment["audio"]) // hop)
    lengths = dict.fromkeys(segment, missing) | {"audio": missing * hop}
    return {name: _pad_field(name, values, lengths[name]) for name, values in segment.items()}


def _pad_field(name: str, values: np.ndarray, missing: int) -> np.ndarray:
    widths = [(0, missing), *[(0, 0)] * (values.ndim - 1)]
    if name in HELD:
        return np.pad(values, widths, "edge")
    return np.pad(values, widths, constant_values=SILENCE.get(name, 0.0))


def _write(segments: Iterable[list[Group]], layout: np.dtype, folder: Path) -> tuple[int, str]:
    """Writes the examples of all segments, for training or held out.

    Returns:
      The number of segments, and the `Dataset.fingerprint`.
    """
    n_segments = 0
    with (
        _GrowingArray(folder / "train.npy", layout) as train,
        _GrowingArray(folder / "heldout.npy", layout) as heldout,
    ):
        for examples in segments:
            is_heldout = n_segments % HELDOUT_EVERY == 1
            n_segments += 1
            for example in examples:
                (heldout if is_heldout else train).append(example)
    return n_segments, train.hash.hexdigest() + heldout.hash.hexdigest()


def mean_targets(group: Group) -> tuple[np.ndarray, np.ndarray]:
    """The means of the targets, at a loudness of 0 dB, over all frames where they are known.

    A harmonic or a band that is never known takes a straight line between its neighbours, beyond
    them the value of the nearest.

    Args:
      group: `Dataset.train` with targets.

    Returns:
      harmonic_log_power [n_harmonics] and noise_log_density [n_noise_bands], float32.

    Raises:
      InputError: No harmonic is known.
    """
    nepers = group["loudness_db"] / DB_PER_NEPER
    harmonic_log_power, noise_log_density = (
        _known_means(group[name], nepers) for name in LOGARITHMS
    )
    if harmonic_log_power is None:
        raise InputError(
            "In these recordings no pitch is sure enough to learn from: give clean recordings of "
            "one instrument that plays one note at a time."
        )
    if noise_log_density is None:  # a synthesizer has none
        n_bands = group["noise_log_density"].shape[-1]
        noise_log_density = np.full(n_bands, NO_NOISE, np.float32)
    return harmonic_log_power, noise_log_density


def _known_means(examples: np.ndarray, nepers: np.ndarray) -> np.ndarray | None:
    """Means [n] of examples [n_examples, n_frames, n], less the loudness of their frames.

    None where nothing is known.
    """
    sums, counts = np.zeros(examples.shape[-1]), np.zeros(examples.shape[-1])
    # One after the other: together they may be larger than memory.
    for example, loudness in zip(examples, nepers, strict=True):
        sums += np.nansum(example - loudness[:, np.newaxis], axis=0, dtype=np.float64)
        counts += np.isfinite(example).sum(axis=0)
    (known,) = np.nonzero(counts)
    if not len(known):
        return None
    means = np.interp(np.arange(len(sums)), known, sums[known] / counts[known])
    return means.astype(np.float32)


class _GrowingArray:
    """A file in NumPy's format of an array [n_examples] that is appended to."""

    def __init__(self, path: Path, layout: np.dtype):
        self._layout, self._n_examples = layout, 0
        self.hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._file = path.open("wb")
        self._write_header()

    def append(self, example: Group) -> None:
        """Writes one example after the others."""
        record = np.zeros((), self._layout)
        for name in self._layout.names or ():
            record[name] = example[name]
        self._file.write(record.tobytes())
        self.hash.update(record.tobytes())
        self._n_examples += 1

    def _write_header(self) -> None:
        """NumPy leaves room in it, so that it takes as much with another number of examples."""
        self._file.seek(0)
        description = np.lib.format.dtype_to_descr(self._layout)
        header = {"descr": description, "fortran_order": False, "shape": (self._n_examples,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with self._file:
            self._write_header()


def _statistics(train: Group) -> dict:
    """What the training examples play; transfer adjusts other sounds to it."""
    voiced = _voiced(train)
    midi = librosa.hz_to_midi(train["f0_hz"][:, :-1][voiced].astype(float))
    loudness_db = train["loudness_db"][:, :-1][voiced]
    low, mean, high = np.percentile(midi, 1), midi.mean(), np.percentile(midi, 99)
    return {
        "examples": len(voiced),
        "voiced_share": round(float(voiced.mean()), 4),
        "pitch_midi": {"low": float(low), "mean": float(mean), "high": float(high)},
        "loudness_db_percentiles": np.percentile(loudness_db, range(101)).round(3).tolist(),
    }
