"""tensorboard, read as TensorBoard reads them."""

import io
import resource

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from helpers.training.tensorboard import Logs


@pytest.fixture
def folder(tmp_path):
    """Of a run that was killed after step 30, and gone on with after step 20."""
    sound = 0.5 * np.sin(np.arange(1000, dtype=np.float32))
    for first, steps in ((1, (10, 20, 30)), (21, (30, 40))):
        with Logs(tmp_path / "logs", first) as logs:
            for step in steps:
                logs.numbers(step, loss=step + first / 100, rate=0.5)
                logs.sound(step, "flute", sound, 16000)
    return tmp_path / "logs"


def test_events_in_the_order_of_files(folder):
    events = [
        event
        for path in sorted(folder.iterdir())
        for event in tf.compat.v1.train.summary_iterator(str(path))
    ]
    assert [e.file_version for e in events if e.file_version] == ["brain.Event:2"] * 2
    starts = [e.step for e in events if e.HasField("session_log")]
    assert starts == [1, 21]  # from where TensorBoard forgets what it read before
    numbers = [(e.step, v.tag) for e in events for v in e.summary.value if not v.HasField("audio")]
    steps = (10, 20, 30, 30, 40)
    assert numbers == [(step, tag) for step in steps for tag in ("loss", "rate")]
    sounds = [v.audio for e in events for v in e.summary.value if v.HasField("audio")]
    for each in sounds:
        sound, sample_rate = soundfile.read(io.BytesIO(each.encoded_audio_string))
        assert sample_rate == each.sample_rate == 16000 and len(sound) == each.length_frames
        np.testing.assert_allclose(sound, 0.5 * np.sin(np.arange(1000)), atol=1e-4)


def test_tensorboard_shows_each_step_once(folder):
    """Where TensorBoard is installed: nothing here needs it."""
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="no TensorBoard here"
    )
    read = accumulators.EventAccumulator(str(folder)).Reload()
    losses = [(event.step, round(event.value, 2)) for event in read.Scalars("loss")]
    assert losses == [(10, 10.01), (20, 20.01), (30, 30.21), (40, 40.21)]
    assert [event.step for event in read.Audio("flute")] == [10, 20, 30, 40]


def test_a_folder_that_cannot_be_written(tmp_path, refused):
    (tmp_path / "file").touch()
    with refused("cannot be written to .*file"):
        Logs(tmp_path / "file" / "logs", 1)
    with Logs(tmp_path / "logs", 1) as logs:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with refused("cannot be written to .*logs"):
                logs.sound(10, "flute", np.zeros(1000, np.float32), 16000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
