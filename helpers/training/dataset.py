"""A folder of recordings to examples that a model is trained on, and statistics of them.

A dataset is a folder of two arrays in NumPy's format, `train.npy` and `heldout.npy`, and
`dataset.json`. A record of an array is an example of `EXAMPLE_SECONDS`: `audio` [n_samples], and
`f0_hz`, `f0_confidence` and `loudness_db` [1 + n_samples // hop], all float32. Arrays are written
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
from helpers.analysis import features, pitch
from helpers.config import FRAME_RATE, SAMPLE_RATE
from helpers.errors import InputError
from helpers.files import recover, replacing_folder

EXAMPLE_SECONDS = 4.0
OVERLAP_SECONDS = 2.0
SEGMENT_SECONDS = 20.0  # held-out data is whole segments, so that no example has a neighbour in it
HELDOUT_EVERY = 10  # segments, from the second on, so that two are enough
LEAST_VOICED = 0.1  # share of voiced frames below which an example teaches nothing
FIELDS = ("audio", "f0_hz", "f0_confidence", "loudness_db")
FILES = ("train.npy", "heldout.npy", "dataset.json")
# Of datasets before they were arrays; one of them is replaced where the new one is to be.
FORMER_FILES = ("train.tfrecord", "heldout.tfrecord", "statistics.json", "passed_over.json")

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
    """

    recordings: str
    sample_rate: int
    frame_rate: int
    crepe_model: str


@dataclass(frozen=True)
class Dataset:
    """Examples ready for training.

    Attributes:
      train, heldout: Field name to array: audio [n_examples, n_samples], the features
        [n_examples, 1 + n_samples // hop]. They are read from disk when they are used.
      statistics: Pitch range and loudness percentiles of the training examples, their sample and
        frame rate, and how many files they are from.
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
            for example in zip(*(group[name] for name in FIELDS), strict=True):
                for values in example:
                    hashed.update(np.ascontiguousarray(values, "<f4").data)
        return "".join(hashed.hexdigest() for hashed in found)

    def check(self) -> None:
        """Reads all examples.

        Raises:
          InputError: A value in them is not finite, or an f0 is not above 0 Hz.
        """
        _check(self.train)
        _check(self.heldout)


def source_of(
    folder: str | Path,
    sample_rate: int = SAMPLE_RATE,
    frame_rate: int = FRAME_RATE,
    crepe_model: str = "tiny",
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
    return Source(recordings.hexdigest(), sample_rate, frame_rate, crepe_model)


def prepare(
    folder: str | Path,
    save_folder: str | Path,
    sample_rate: int = SAMPLE_RATE,
    frame_rate: int = FRAME_RATE,
    crepe_model: str = "tiny",
    workers: int = 2,
) -> Dataset:
    """Makes a dataset of all recordings in a folder, and saves it.

    Each file is mixed to mono and resampled; one that cannot be used is named and passed over.
    Examples of 4 s, every 2 s, are cut from segments of at most 20 s; the second segment with a
    pitch is held out, and each tenth after it. Features are kept in `config.CACHE`: after an
    interrupt, and with files added, only new files are analysed.

    Args:
      folder: Where the recordings are.
      save_folder: Where the dataset goes; a dataset that is there is replaced when the new one is
        complete.
      sample_rate: Hz.
      frame_rate: Feature frames a second.
      crepe_model: CREPE's size for the pitch.
      workers: Files that are analysed at a time.

    Returns:
      A `Dataset`.

    Raises:
      InputError: There is too little to learn from in the folder, a frame would not be a whole
        number of samples, or `save_folder` holds something else than a dataset or cannot be
        written to.
    """
    files = sound.find(folder)
    layout = _layout(sample_rate, frame_rate)
    source = source_of(folder, sample_rate, frame_rate, crepe_model)
    analysed = features.extract_files(
        files, sample_rate, frame_rate, crepe_model=crepe_model, workers=workers
    )
    passed_over: dict[str, str] = {}
    with (
        replacing_folder(save_folder, (*FILES, *FORMER_FILES)) as unfinished,
        contextlib.closing(analysed),  # its progress bar ends before an error is printed
    ):
        segments = _segments(analysed, folder, sample_rate, frame_rate, passed_over)
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
    layout = _layout(source.sample_rate, source.frame_rate)
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
    passed_over = {str(name): str(reason) for name, reason in made["passed_over"].items()}
    return Dataset(train, heldout, statistics, passed_over, source), made["fingerprint"]


def _layout(sample_rate: int, frame_rate: int) -> np.dtype:
    """The dtype of an example."""
    n_hops = int(EXAMPLE_SECONDS * frame_rate)
    lengths = dict.fromkeys(FIELDS, 1 + n_hops)
    lengths["audio"] = n_hops * features.hop_size(sample_rate, frame_rate)
    return np.dtype([(name, "<f4", (length,)) for name, length in lengths.items()])


def _open(path: Path, layout: np.dtype) -> Group:
    """The fields of the examples in a file, mapped into memory."""
    records = np.lib.format.open_memmap(path, mode="r")
    if records.dtype != layout or records.ndim != 1 or not len(records):
        raise ValueError(f"{path.name} holds no examples of these rates")
    return {name: records[name] for name in FIELDS}


def _check(group: Group) -> None:
    for name in FIELDS:
        for values in group[name]:
            if not np.isfinite(values).all() or (name == "f0_hz" and values.min() <= 0):
                raise InputError(
                    f"The dataset is damaged (its {name} has values that are no valid numbers): "
                    "prepare it again."
                )


def _segments(analysed, folder, sample_rate, frame_rate, passed_over) -> Iterator[list[Group]]:
    """Yields the examples of each segment of each file; adds to `passed_over` what has none."""
    for path, file in analysed:
        try:
            whole = _fields(*file.result())
            n_segments = 0
            for segment in _cut_up(whole, sample_rate, frame_rate):
                examples = _examples(segment, sample_rate, frame_rate)
                n_segments += bool(examples)
                if examples:
                    yield examples
            if not n_segments:
                raise InputError(
                    f"{path.name} has hardly any note in it: give recordings of one instrument "
                    "that plays one note at a time."
                )
        except InputError as error:
            passed_over[path.relative_to(folder).as_posix()] = str(error)
            tqdm.write(f"Passed over: {error}")


def _fields(audio: np.ndarray, of_audio: features.Features) -> Group:
    """What a dataset keeps of a recording."""
    return {
        "audio": audio,
        "f0_hz": pitch.fill_unvoiced(of_audio.f0_hz),
        "f0_confidence": np.where(of_audio.voiced, of_audio.confidence, 0.0),
        "loudness_db": of_audio.loudness_db,
    }


def _cut_up(whole: Group, sample_rate: int, frame_rate: int) -> Iterator[Group]:
    """Yields equal segments of at most 20 s."""
    hop_size = features.hop_size(sample_rate, frame_rate)
    n_hops = len(whole["audio"]) // hop_size
    n_segments = int(np.ceil(n_hops / (SEGMENT_SECONDS * frame_rate)))
    edges = np.linspace(0, n_hops, n_segments + 1).astype(int)
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        yield _cut(whole, start, end, hop_size)


def _cut(fields: Group, start: int, end: int, hop_size: int) -> Group:
    """Audio from one frame to another, and the features of both and of all between them."""
    cut = {name: fields[name][start : end + 1] for name in FIELDS}
    cut["audio"] = fields["audio"][start * hop_size : end * hop_size]
    return {name: np.asarray(values, np.float32) for name, values in cut.items()}


def _examples(segment: Group, sample_rate: int, frame_rate: int) -> list[Group]:
    """Overlapping examples of one length from a segment, those without pitch left out."""
    hop_size = features.hop_size(sample_rate, frame_rate)
    length = int(EXAMPLE_SECONDS * frame_rate)
    step = length - int(OVERLAP_SECONDS * frame_rate)
    segment = _pad(segment, length, hop_size)
    last = len(segment["audio"]) // hop_size - length
    starts = sorted({*range(0, last + 1, step), last})
    cuts = [_cut(segment, start, start + length, hop_size) for start in starts]
    return [cut for cut in cuts if np.mean(_voiced(cut)) >= LEAST_VOICED]


def _voiced(group: Group) -> np.ndarray:
    """Where a pitch sounds, but for the last frame, which is the first of what follows."""
    return group["f0_confidence"][..., :-1] > 0


def _pad(segment: Group, length: int, hop_size: int) -> Group:
    """A segment with silence after it where it is shorter than an example."""
    missing = max(0, length - len(segment["audio"]) // hop_size)
    return {
        "audio": np.pad(segment["audio"], (0, missing * hop_size)),
        "f0_hz": np.pad(segment["f0_hz"], (0, missing), "edge"),
        "f0_confidence": np.pad(segment["f0_confidence"], (0, missing)),
        "loudness_db": np.pad(
            segment["loudness_db"], (0, missing), constant_values=features.LOUDNESS_FLOOR_DB
        ),
    }


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
        for name in FIELDS:
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
