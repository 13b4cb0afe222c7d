"""Examines a folder of recordings before a model is trained on them.

It measures each file, warns, and recommends what to record next; it changes and deletes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from helpers.analysis import audio as sound
from helpers.analysis import findings, recording_quality
from helpers.analysis.features import extract_files
from helpers.analysis.recording_quality import FileReport
from helpers.config import FRAME_RATE, SAMPLE_RATE
from helpers.errors import InputError


@dataclass(frozen=True)
class Report:
    """What was measured in a folder of recordings; `print` it to read the findings.

    Attributes:
      files: A `FileReport` for each file that can be read.
      passed_over: File, from the folder on, to the sentence that says why it cannot be read.
      seconds_played: How long each note sounds at each loudness [128 MIDI notes, 100 dB]; the
        loudness in column k is from k - 80 to k - 79 dB.
      findings: Sentences for the player.
    """

    files: tuple[FileReport, ...]
    passed_over: dict[str, str]
    seconds_played: np.ndarray
    findings: tuple[str, ...]

    def __str__(self):
        return "\n".join(f"• {finding}" for finding in self.findings)

    @property
    def usable_minutes(self) -> float:
        """Of all files."""
        return float(sum(file.usable_minutes for file in self.files))

    @property
    def polyphony(self) -> float:
        """Mean over the files, weighted by what they play."""
        return self._mean("polyphony")

    @property
    def clipped(self) -> float:
        """Share of the samples of all files."""
        return self._mean("clipped")

    @property
    def noise_floor_db(self) -> float:
        """Median of the files that have pauses."""
        return self._median("noise_floor_db")

    @property
    def rt60_s(self) -> float:
        """Median of the files in which the decay of notes can be measured."""
        return self._median("rt60_s")

    @property
    def pitch_seconds(self) -> np.ndarray:
        """How long each MIDI note sounds. Shape [128]."""
        return self.seconds_played.sum(axis=1)

    @property
    def loudness_seconds(self) -> np.ndarray:
        """How long each dB of loudness sounds. Shape [100]."""
        return self.seconds_played.sum(axis=0)

    def _mean(self, name):
        values = np.array([getattr(file, name) for file in self.files])
        weights = np.array([file.minutes for file in self.files])
        known = np.isfinite(values)
        return float(np.average(values[known], weights=weights[known])) if known.any() else np.nan

    def _median(self, name):
        values = np.array([getattr(file, name) for file in self.files])
        known = np.isfinite(values)
        return float(np.median(values[known])) if known.any() else np.nan


def examine(
    folder: str | Path,
    sample_rate: int = SAMPLE_RATE,
    frame_rate: int = FRAME_RATE,
    *,
    crepe_model: str = "tiny",
    workers: int = 2,
) -> Report:
    """Examines all recordings in a folder.

    It extracts the features that `dataset.prepare` needs, which then takes them from the cache.

    Args:
      folder: Where the recordings are.
      sample_rate: Of the model, in Hz: noise is measured up to half of it.
      frame_rate: Feature frames a second.
      crepe_model: CREPE's size for the pitch.
      workers: Files that are analysed at a time.

    Returns:
      A `Report`. A file that cannot be used is named in it, and stays where it is.

    Raises:
      InputError: There is no sound file in the folder, or the rates do not fit.
    """
    paths = sound.find(folder)
    files, passed_over = [], {}
    seconds_played = np.zeros(recording_quality.HISTOGRAM_SHAPE)
    analysed = extract_files(
        paths, sample_rate, frame_rate, crepe_model=crepe_model, workers=workers
    )
    for path, file in analysed:
        name = path.relative_to(folder).as_posix()
        name = name.encode("utf-8", "backslashreplace").decode()  # names may be of other encodings
        try:
            audio, features = file.result()
        except InputError as error:
            passed_over[name] = str(error)
            tqdm.write(f"Passed over: {error}")
            continue
        files.append(recording_quality.measure(name, path, audio, features, sample_rate))
        seconds_played += recording_quality.seconds_played(features)
    sentences = findings.in_words(files, passed_over, seconds_played)
    return Report(tuple(files), passed_over, seconds_played, tuple(sentences))
