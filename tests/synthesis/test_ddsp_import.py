"""ddsp_import: ddsp on a current Python, and nothing left behind by its import."""

import os
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from helpers.analysis import crepe
from helpers.synthesis import ddsp_import
from helpers.synthesis.ddsp_import import StandIn, StandInError, ddsp

ROOT = Path(__file__).parents[2]


def run(code):
    """Runs code in a fresh Python whose TensorFlow nobody has set up."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_USE_")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_no_stand_in_is_left():
    assert not [name for name, module in sys.modules.items() if isinstance(module, StandIn)]
    assert sys.modules.get("crepe") is not crepe
    for name in ddsp_import.UNUSED:
        parent, _, child = name.rpartition(".")
        assert not isinstance(getattr(sys.modules.get(parent), child, None), StandIn)


@pytest.mark.skipif(find_spec("crepe") is not None, reason="the real crepe is installed")
def test_ddsp_tracks_pitch_with_helpers_crepe():
    assert ddsp.spectral_ops.crepe is crepe
    assert ddsp.losses.crepe is crepe


def test_ddsps_f0_of_a_sine_is_right():
    audio = np.sin(2 * np.pi * 440.0 * np.arange(16000) / 16000).astype(np.float32)
    f0_hz, confidence = ddsp.spectral_ops.compute_f0(audio, frame_rate=100, viterbi=False)
    middle = slice(10, 90)
    assert np.abs(1200 * np.log2(f0_hz[middle] / 440.0)).max() < 10  # cents
    assert confidence[middle].min() > 0.8


def test_a_stand_in_can_be_named():
    stand_in = StandIn("note_seq")
    assert isinstance(stand_in.protobuf.music_pb2.NoteSequence, StandIn)
    assert stand_in.protobuf.music_pb2.__name__ == "note_seq.protobuf.music_pb2"
    assert not hasattr(stand_in, "__version__")  # what Python itself asks is answered as usual


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s(),
        lambda s: s.midi_to_note_sequence("a.mid"),
        lambda s: iter(s),
        lambda s: [*s.constants],
        lambda s: len(s),
        lambda s: "a" in s,
        lambda s: s["a"],
        lambda s: bool(s),
        lambda s: 1 if s.flag else 0,
        lambda s: isinstance(1, s.NoteSequence),
        lambda s: issubclass(int, s.NoteSequence),
        lambda s: types.new_class("Note", (s.NoteSequence,)),
        lambda s: s.open().__enter__(),
    ],
)
def test_a_stand_in_that_is_used_says_what_it_is(use):
    with pytest.raises(StandInError, match=r"note_seq.*stand-in.*[Ii]nstall note_seq"):
        use(StandIn("note_seq"))


def test_real_modules_are_left_alone():
    """In a fresh Python: what was imported before stays, and only ddsp's needs are imported."""
    done = run(
        "import sys, types\n"
        "real = types.ModuleType('hypertune')\n"
        "sys.modules['hypertune'] = real\n"
        "from helpers.synthesis.ddsp_import import ddsp, StandIn\n"
        "assert sys.modules['hypertune'] is real\n"
        "assert ddsp.training.cloud.hypertune is real\n"
        "assert isinstance(ddsp.training.metrics.note_seq, StandIn)\n"
        "assert not [m for m in sys.modules.values() if isinstance(m, StandIn)]\n"
        "assert 'note_seq' not in sys.modules and 'tensorflow_datasets' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


def test_keras_3_is_refused_in_one_sentence():
    done = run("import tensorflow as tf; tf.keras.layers; import helpers.synthesis.ddsp_import")
    last_line = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last_line.startswith("ImportError: TensorFlow was started with Keras 3")
    assert "restart the kernel" in last_line
