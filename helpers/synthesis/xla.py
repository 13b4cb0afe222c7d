"""Compiles TensorFlow functions with XLA where that makes them faster: on CPUs.

XLA joins element-wise operations into one pass over memory, and on a CPU such passes are most of
the time that DDSP takes. A GPU has faster memory, and cuDNN, which XLA cannot call. So on a GPU
functions stay TensorFlow graphs.
"""

import functools
from collections.abc import Callable

from helpers.tensorflow_import import tf, without_startup_messages


def compiled(function: Callable) -> Callable:
    """A `tf.function` of a function of tensors, through XLA on a machine without a GPU.

    Each new shape of the arguments is compiled anew, which takes about a second. The `tf.function`
    is made in the first call, so that devices can be set before.
    """

    @functools.cache
    def graph():
        return tf.function(function, autograph=False, jit_compile=available())

    return functools.wraps(function)(lambda *arguments: graph()(*arguments))


@functools.cache
def available() -> bool:
    """True where there is no GPU and TensorFlow's build has XLA for the CPU."""
    if tf.config.list_physical_devices("GPU"):
        return False
    try:
        # XLA prints messages when it first compiles, which may be while another graph is made.
        with without_startup_messages(), tf.init_scope():
            trial = tf.function(_some_of_everything, autograph=False, jit_compile=True)
            return bool(tf.math.is_finite(trial(tf.ones([8, 8]))))
    except tf.errors.OpError:  # some builds come without
        return False


def _some_of_everything(x):
    """Element-wise operations, sums and matrix products, which XLA compiles differently."""
    return tf.reduce_sum(tf.tanh(tf.matmul(x, x)))
