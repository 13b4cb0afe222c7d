"""A folder of recordings to examples that a model is trained on, and what they play.

Examples are kept as TFRecords that ddsp's own TFRecordProvider reads too: `audio`, `audio_16k`,
`f0_hz`, `f0_confidence` and `loudness_db`, all float32 and of fixed length.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from helpers import audio as sound
from helpers import features, pitch
from helpers.config import FRAME_RATE, SAMPLE_RATE
from helpers.errors import InputError
from helpers.files import replacing_folder
from helpers.tensorflow_import import tf

EXAMPLE_SECONDS = 4.0
OVERLAP_SECONDS = 2.0
SEGMENT_SECONDS = 20.0  # held-out data is whole segments, so that no example has a neighbour in it
HELDOUT_EVERY = 10  # segments
LEAST_VOICED = 0.1  # share of voiced frames below which an example teaches nothing
FIELDS = ("audio", "f0_hz", "f0_confidence", "loudness_db")
FILES = ("train.tfrecord", "heldout.tfrecord", "statistics.json", "passed_over.json")


@dataclass(frozen=True)
class Dataset:
    """Examples ready for training.

    Attributes:
      train, heldout: Field name to array [n_examples, n_samples or n_frames].
      statistics: What the training examples play: pitch range, loudness percentiles, and of what
        rates and how many files they are.
      passed_over: File, from the folder on, to the sentence that says why it was left out.
    """

    train: dict
    heldout: dict
    statistics: dict
    passed_over: dict


def prepare(
    folder, save_folder, sample_rate=SAMPLE_RATE, frame_rate=FRAME_RATE, crepe_model="tiny"
):
    """Makes a dataset of all recordings in a folder, and saves it.

    Each file is mixed to mono and resampled; one that cannot be used is named and passed over.
    Examples of 4 s, every 2 s, are cut from segments of at most 20 s; each tenth segment with
    a pitch is held out.

    Args:
      folder: Where the recordings are.
      save_folder: Where the dataset goes; one that is there is replaced when the new is whole.
      sample_rate: Hz.
      frame_rate: Feature frames a second.
      crepe_model: CREPE's size for the pitch.

    Returns:
      A `Dataset`.

    Raises:
      InputError: There is too little to learn from in the folder, a frame would not be a whole
        number of samples, or `save_folder` holds something else than a dataset.
    """
    files = sound.find(folder)
    for rate in (SAMPLE_RATE, sample_rate):  # features are taken at the first
        features.hop_size(rate, frame_rate)
    segments, passed_over = [], {}
    with replacing_folder(save_folder, FILES) as unfinished:
        for path in tqdm(files, desc="listening", unit="file"):
            try:
                segments += _segments(path, sample_rate, frame_rate, crepe_model)
            except InputError as error:
                passed_over[path.relative_to(folder).as_posix()] = str(error)
                tqdm.write(f"Passed over: {error}")
        if not segments:
            raise InputError(f"No file in {folder} can be used: {next(iter(passed_over.values()))}")
        train, heldout = _split(segments)
        n_used = len(files) - len(passed_over)
        statistics = _statistics(train, n_used, sample_rate, frame_rate)
        dataset = Dataset(train, heldout, statistics, passed_over)
        _save(dataset, unfinished)
    return dataset


def load(folder):
    """Reads the dataset that `prepare` saved."""
    folder = Path(folder)
    if not all((folder / name).is_file() for name in FILES):
        raise InputError(f"There is no dataset in {folder}: prepare one first.")
    return Dataset(
        *(_read(folder / f"{name}.tfrecord") for name in ("train", "heldout")),
        *(
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("statistics", "passed_over")
        ),
    )


def _segments(path, sample_rate, frame_rate, crepe_model):
    """A file's examples, a list for each equal segment of at most 20 s in which there are any."""
    audio, _ = sound.load(path, sample_rate, max_seconds=np.inf)
    curves = features.extract(audio, sample_rate, frame_rate, crepe_model)
    hop_size = features.hop_size(sample_rate, frame_rate)
    n_frames = len(audio) // hop_size
    whole = {
        "audio": audio,
        "f0_hz": pitch.fill_unvoiced(curves.f0_hz),
        "f0_confidence": np.where(curves.voiced, curves.confidence, 0.0),
        "loudness_db": curves.loudness_db,
    }
    n_segments = int(np.ceil(n_frames / (SEGMENT_SECONDS * frame_rate)))
    edges = np.linspace(0, n_frames, n_segments + 1).astype(int)
    segments = [
        _examples(_cut(whole, start, end, hop_size), frame_rate, hop_size)
        for start, end in zip(edges[:-1], edges[1:], strict=True)
    ]
    if not any(segments):
        raise InputError(
            f"{path.name} has hardly any note in it: give recordings of one instrument that plays "
            "one note at a time."
        )
    return [examples for examples in segments if examples]


def _cut(fields, start, end, hop_size):
    """All fields from one frame to another."""
    scale = {name: hop_size if name == "audio" else 1 for name in FIELDS}
    return {
        name: np.asarray(fields[name][start * scale[name] : end * scale[name]], np.float32)
        for name in FIELDS
    }


def _examples(segment, frame_rate, hop_size):
    """Overlapping examples of one length from a segment, those without pitch left out."""
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


def _split(segments):
    """Fields of all examples for training and held out: of each tenth segment, at least of one."""
    if len(segments) < 2:
        raise InputError(
            "There is too little with a pitch in these recordings: give at least a minute of one "
            "instrument playing single notes (no chords), in two or more files or one long one."
        )
    heldout_at = range(min(HELDOUT_EVERY, len(segments)) // 2, len(segments), HELDOUT_EVERY)
    groups = {False: [], True: []}
    for i, examples in enumerate(segments):
        groups[i in heldout_at] += examples
    return tuple(
        {name: np.stack([example[name] for example in groups[held]]) for name in FIELDS}
        for held in (False, True)
    )


def _statistics(train, n_files, sample_rate, frame_rate):
    """What the training examples play; transfer adjusts other sounds to it."""
    voiced = train["f0_confidence"] > 0
    midi = 69.0 + 12.0 * np.log2(train["f0_hz"][voiced] / 440.0)
    loudness_db = train["loudness_db"][voiced]
    low, mean, high = np.percentile(midi, 1), midi.mean(), np.percentile(midi, 99)
    return {
        "feature_profile": features.PROFILE,
        "sample_rate": sample_rate,
        "frame_rate": frame_rate,
        "files": n_files,
        "examples": len(train["audio"]),
        "voiced_share": round(float(voiced.mean()), 4),
        "pitch_midi": {"low": float(low), "mean": float(mean), "high": float(high)},
        "loudness_db_percentiles": np.percentile(loudness_db, range(101)).round(3).tolist(),
    }


def _save(dataset, folder):
    for name in ("train", "heldout"):
        path = folder / f"{name}.tfrecord"
        _write(getattr(dataset, name), dataset.statistics["sample_rate"], path)
    for name in ("statistics", "passed_over"):
        text = json.dumps(getattr(dataset, name), indent=2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _write(fields, sample_rate, path):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for values in zip(*(fields[name] for name in FIELDS), strict=True):
            record = dict(zip(FIELDS, values, strict=True))
            record["audio_16k"] = sound.resample(record["audio"], sample_rate, SAMPLE_RATE)
            feature = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=value))
                for name, value in record.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def _read(path):
    examples = []
    for record in tf.data.TFRecordDataset(str(path), buffer_size=2**20).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        examples.append([np.array(feature[name].float_list.value, np.float32) for name in FIELDS])
    return dict(zip(FIELDS, map(np.stack, zip(*examples, strict=True)), strict=True))
