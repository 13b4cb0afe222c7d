"""xla: functions give the same compiled as not, and say nothing."""

import subprocess
import sys

import numpy as np
import pytest

from helpers.synthesis import xla
from helpers.tensorflow_import import tf

PROGRAM = """
from helpers.synthesis.xla import compiled
from helpers.tensorflow_import import tf
loop = compiled(lambda x: tf.scan(lambda a, b: tf.tanh(tf.matmul(a, b)), x, tf.ones([2, 2])))
print(loop(tf.ones([3, 2, 2])).shape)
"""


def test_a_compiled_function_gives_the_same():
    def function(x):
        return tf.reduce_sum(tf.exp(-tf.square(x)), axis=1)

    x = np.random.default_rng(0).normal(size=[5, 7]).astype(np.float32)
    np.testing.assert_allclose(xla.compiled(function)(x), np.exp(-(x**2)).sum(1), rtol=1e-5)


def test_the_first_call_may_come_from_a_graph():
    xla.available.cache_clear()
    twice = tf.function(lambda x: 2.0 * xla.compiled(tf.square)(x), autograph=False)
    np.testing.assert_allclose(twice(tf.constant([3.0])), [18.0])


def test_a_build_without_xla_goes_without(monkeypatch):
    def without_xla(function, jit_compile=None, **options):
        if jit_compile:
            raise tf.errors.UnimplementedError(None, None, "no XLA in this build")
        return tf.function(function, **options)

    monkeypatch.setattr(xla, "tf", type("tf", (), {**vars(tf), "function": without_xla}))
    xla.available.cache_clear()
    assert not xla.available()
    xla.available.cache_clear()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_a_machine_without_a_gpu_compiles_in_silence():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert result.stdout == "(3, 2, 2)\n"
    assert not [line for line in result.stderr.splitlines() if "Location" not in line]
