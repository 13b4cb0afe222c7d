"""A folder of recordings to examples that a model is trained on, and what they play.

Examples are kept as TFRecords that ddsp's own TFRecordProvider reads too: `audio`, `audio_16k`,
`f0_hz`, `f0_confidence` and `loudness_db`, all float32 and of fixed length. They are written while
the recordings are listened to and read from disk where training looks at them, so that memory
stays the same for ten minutes and for ten hours.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tqdm.auto import tqdm

from helpers.analysis import audio as sound
from helpers.analysis import features, pitch
from helpers.config import FRAME_RATE, SAMPLE_RATE
from helpers.errors import InputError
from helpers.files import replacing_folder
from helpers.tensorflow_import import tf

EXAMPLE_SECONDS = 4.0
OVERLAP_SECONDS = 2.0
SEGMENT_SECONDS = 20.0  # held-out data is whole segments, so that no example has a neighbour in it
HELDOUT_EVERY = 10  # segments, from the second on, so that two are enough
LEAST_VOICED = 0.1  # share of voiced frames below which an example teaches nothing
FIELDS = ("audio", "f0_hz", "f0_confidence", "loudness_db")
FILES = ("train.tfrecord", "heldout.tfrecord", "statistics.json", "passed_over.json")
# Around each record in a TFRecord file: its length and a checksum of that; a checksum of the data.
BYTES_BEFORE, BYTES_AFTER = 12, 4


@dataclass(frozen=True)
class Dataset:
    """Examples ready for training.

    Attributes:
      train, heldout: Field name to array [n_examples, n_samples or n_frames], read from disk where
        it is looked at.
      statistics: What the training examples play: pitch range, loudness percentiles, and of what
        rates and how many files they are.
      passed_over: File, from the folder on, to the sentence that says why it was left out.
    """

    train: dict
    heldout: dict
    statistics: dict
    passed_over: dict

    @property
    def fingerprint(self):
        """Eight letters and digits that examples of other recordings do not have."""
        return f"{zlib.crc32(json.dumps(self.statistics).encode()):08x}"


def prepare(
    folder,
    save_folder,
    sample_rate=SAMPLE_RATE,
    frame_rate=FRAME_RATE,
    crepe_model="tiny",
    workers=2,
):
    """Makes a dataset of all recordings in a folder, and saves it.

    Each file is mixed to mono and resampled; one that cannot be used is named and passed over.
    Examples of 4 s, every 2 s, are cut from segments of at most 20 s; the second segment with a
    pitch is held out, and each tenth after it. What was heard is kept in `config.CACHE`: after
    an interrupt, and with files added, only what is new is listened to.

    Args:
      folder: Where the recordings are.
      save_folder: Where the dataset goes; one that is there is replaced when the new is whole.
      sample_rate: Hz.
      frame_rate: Feature frames a second.
      crepe_model: CREPE's size for the pitch.
      workers: Files that are listened to at a time.

    Returns:
      A `Dataset`.

    Raises:
      InputError: There is too little to learn from in the folder, a frame would not be a whole
        number of samples, or `save_folder` holds something else than a dataset.
    """
    files = sound.find(folder)
    heard = features.extract_files(
        files, sample_rate, frame_rate, crepe_model=crepe_model, workers=workers
    )
    passed_over = {}
    with replacing_folder(save_folder, FILES) as unfinished:
        segments = _segments(heard, folder, sample_rate, frame_rate, passed_over)
        n_segments, played = _write(segments, sample_rate, unfinished)
        if not n_segments:
            raise InputError(f"No file in {folder} can be used: {next(iter(passed_over.values()))}")
        if n_segments < 2:
            raise InputError(
                "There is too little with a pitch in these recordings: give at least a minute of "
                "one instrument playing single notes (no chords), in two or more files or one long "
                "one."
            )
        statistics = {
            "feature_profile": features.PROFILE,
            "sample_rate": sample_rate,
            "frame_rate": frame_rate,
            "files": len(files) - len(passed_over),
            **_statistics(played),
        }
        _save_json(statistics, unfinished / "statistics.json")
        _save_json(passed_over, unfinished / "passed_over.json")
    return load(save_folder)


def load(folder):
    """Opens the dataset that `prepare` saved.

    Raises:
      InputError: There is none, or it is damaged or of another version.
    """
    folder = Path(folder)
    if not all((folder / name).is_file() for name in FILES):
        raise InputError(f"There is no dataset in {folder}: prepare one first.")
    statistics, passed_over = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("statistics", "passed_over")
    )
    rates = statistics["sample_rate"], statistics["frame_rate"]
    train, heldout = (_map(folder / f"{name}.tfrecord", *rates) for name in ("train", "heldout"))
    return Dataset(train, heldout, statistics, passed_over)


def _segments(heard, folder, sample_rate, frame_rate, passed_over):
    """Yields the examples of each segment of each file; adds to `passed_over` what has none."""
    for path, file in heard:
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


def _fields(audio, curves):
    """What a dataset keeps of a recording."""
    return {
        "audio": audio,
        "f0_hz": pitch.fill_unvoiced(curves.f0_hz),
        "f0_confidence": np.where(curves.voiced, curves.confidence, 0.0),
        "loudness_db": curves.loudness_db,
    }


def _cut_up(whole, sample_rate, frame_rate):
    """Yields equal segments of at most 20 s."""
    hop_size = features.hop_size(sample_rate, frame_rate)
    n_frames = len(whole["audio"]) // hop_size
    n_segments = int(np.ceil(n_frames / (SEGMENT_SECONDS * frame_rate)))
    edges = np.linspace(0, n_frames, n_segments + 1).astype(int)
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        yield _cut(whole, start, end, hop_size)


def _cut(fields, start, end, hop_size):
    """All fields from one frame to another."""
    scale = {name: hop_size if name == "audio" else 1 for name in FIELDS}
    return {
        name: np.asarray(fields[name][start * scale[name] : end * scale[name]], np.float32)
        for name in FIELDS
    }


def _examples(segment, sample_rate, frame_rate):
    """Overlapping examples of one length from a segment, those without pitch left out."""
    hop_size = features.hop_size(sample_rate, frame_rate)
    length = int(EXAMPLE_SECONDS * frame_rate)
    step = length - int(OVERLAP_SECONDS * frame_rate)
    segment = _pad(segment, length, hop_size)
    last = len(segment["f0_hz"]) - length
    starts = sorted({*range(0, last + 1, step), last})
    cuts = [_cut(segment, start, start + length, hop_size) for start in starts]
    return [cut for cut in cuts if np.mean(cut["f0_confidence"] > 0) >= LEAST_VOICED]


def _pad(segment, length, hop_size):
    """A segment with silence after it where it is shorter than an example."""
    missing = max(0, length - len(segment["f0_hz"]))
    return {
        "audio": np.pad(segment["audio"], (0, missing * hop_size)),
        "f0_hz": np.pad(segment["f0_hz"], (0, missing), "edge"),
        "f0_confidence": np.pad(segment["f0_confidence"], (0, missing)),
        "loudness_db": np.pad(
            segment["loudness_db"], (0, missing), constant_values=features.LOUDNESS_FLOOR_DB
        ),
    }


def _write(segments, sample_rate, folder):
    """Writes the examples of all segments, for training or held out.

    Returns:
      The number of segments, and what the training examples play: their curves [n_examples,
      n_frames], by name.
    """
    n_segments, played = 0, []
    with (
        tf.io.TFRecordWriter(str(folder / "train.tfrecord")) as train,
        tf.io.TFRecordWriter(str(folder / "heldout.tfrecord")) as heldout,
    ):
        for examples in segments:
            is_heldout = n_segments % HELDOUT_EVERY == 1
            n_segments += 1
            for example in examples:
                audio_16k = sound.resample(example["audio"], sample_rate, SAMPLE_RATE)
                record = _serialise({**example, "audio_16k": audio_16k})
                (heldout if is_heldout else train).write(record)
            if not is_heldout:
                played += [[example[name] for name in FIELDS[1:]] for example in examples]
    return n_segments, dict(zip(FIELDS[1:], map(np.stack, zip(*played, strict=True)), strict=False))


def _statistics(played):
    """What the training examples play; transfer adjusts other sounds to it."""
    voiced = played["f0_confidence"] > 0
    midi = 69.0 + 12.0 * np.log2(played["f0_hz"][voiced] / 440.0)
    loudness_db = played["loudness_db"][voiced]
    low, mean, high = np.percentile(midi, 1), midi.mean(), np.percentile(midi, 99)
    return {
        "examples": len(voiced),
        "voiced_share": round(float(voiced.mean()), 4),
        "pitch_midi": {"low": float(low), "mean": float(mean), "high": float(high)},
        "loudness_db_percentiles": np.percentile(loudness_db, range(101)).round(3).tolist(),
    }


def _save_json(content, path):
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _serialise(example):
    """A record as ddsp reads it: the same bytes in the same places for examples of one length."""
    feature = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))
        for name, values in example.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def _map(path, sample_rate, frame_rate):
    """The fields of all records in a TFRecord file, mapped into memory; see `Dataset`."""
    layout = _layout(sample_rate, frame_rate)
    n_examples, rest = divmod(path.stat().st_size, layout.itemsize)
    if n_examples and not rest:
        records = np.memmap(path, layout, "r")
        if _is_read_alike(records[0]) and _is_read_alike(records[-1]):
            return {name: records[name] for name in FIELDS}
    raise InputError(f"{path} is damaged or of another version: prepare the dataset again.")


def _layout(sample_rate, frame_rate):
    """The dtype of a record in a file, found from one whose values tell the fields apart."""
    n_frames = int(EXAMPLE_SECONDS * frame_rate)
    lengths = dict.fromkeys(FIELDS, n_frames)
    lengths["audio"] = n_frames * features.hop_size(sample_rate, frame_rate)
    lengths["audio_16k"] = n_frames * features.hop_size(SAMPLE_RATE, frame_rate)
    marked = {name: np.full(n, 1 + i, "<f4") for i, (name, n) in enumerate(lengths.items())}
    record = _serialise(marked)
    return np.dtype(
        {
            "names": list(lengths),
            "formats": [("<f4", n) for n in lengths.values()],
            "offsets": [BYTES_BEFORE + record.index(marked[name].tobytes()) for name in lengths],
            "itemsize": BYTES_BEFORE + len(record) + BYTES_AFTER,
        }
    )


def _is_read_alike(record):
    """Whether TensorFlow finds in a mapped record what the mapping finds."""
    try:
        data = record.tobytes()[BYTES_BEFORE:-BYTES_AFTER]
        feature = tf.train.Example.FromString(data).features.feature
    except DecodeError:
        return False
    return all(
        np.array_equal(record[name], feature[name].float_list.value) for name in record.dtype.names
    )
