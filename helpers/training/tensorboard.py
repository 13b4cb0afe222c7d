"""What TensorBoard shows of a training: numbers and sounds over its steps.

An event file is a TFRecord file of protocol buffers that TensorFlow has: it is written without
TensorBoard, which need not be installed.
"""

import time
from pathlib import Path

import numpy as np

from helpers.files import explaining
from helpers.tensorflow_import import tf

Event, Summary, SessionLog = tf.compat.v1.Event, tf.compat.v1.Summary, tf.compat.v1.SessionLog


class Logs:
    """An event file in a folder, beside those of earlier runs of the same training."""

    def __init__(self, folder: str | Path, next_step: int) -> None:
        """Starts the file; TensorBoard forgets what earlier ones say from `next_step` on."""
        self._folder = Path(folder)
        with self._explained():
            self._folder.mkdir(parents=True, exist_ok=True)
            # TensorBoard reads the files in the order of their names.
            path = self._folder / f"events.out.tfevents.{time.time():017.6f}"
            self._file = tf.io.TFRecordWriter(str(path))
        self._write(file_version="brain.Event:2")
        self._write(step=next_step, session_log=SessionLog(status=SessionLog.START))

    def numbers(self, step: int, **values: float) -> None:
        """Writes numbers by their names."""
        self._summary(step, [Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()])

    def sound(self, step: int, name: str, audio: np.ndarray, sample_rate: int) -> None:
        """Writes audio [n_samples], as a 16-bit WAV."""
        wav = tf.audio.encode_wav(audio[:, None], sample_rate).numpy()
        sound = Summary.Audio(
            sample_rate=sample_rate,
            num_channels=1,
            length_frames=len(audio),
            encoded_audio_string=wav,
            content_type="audio/wav",
        )
        self._summary(step, [Summary.Value(tag=name, audio=sound)])

    def _summary(self, step, values):
        self._write(step=step, summary=Summary(value=values))

    def _write(self, **content):
        with self._explained():
            self._file.write(Event(wall_time=time.time(), **content).SerializeToString())
            self._file.flush()

    def _explained(self):
        return explaining(f"What TensorBoard shows cannot be written to {self._folder}")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()
