"""Compiles TensorFlow functions with XLA where that makes them faster: on CPUs.

XLA joins a chain of element-wise operations into one pass over memory, which on a CPU is most of
the time of DDSP. A GPU has memory to spare and cuDNN, which XLA cannot call, so there functions
stay TensorFlow graphs.
"""

import functools

from helpers.tensorflow_import import tf, without_startup_messages


def compiled(function):
    """A `tf.function` of a function of tensors, through XLA on a machine without a GPU.

    Each new shape of the arguments is compiled anew, which takes about a second. It is made when
    first called: before that, devices can still be set.
    """

    @functools.cache
    def graph():
        return tf.function(function, autograph=False, jit_compile=available())

    return functools.wraps(function)(lambda *arguments: graph()(*arguments))


@functools.cache
def available():
    """True where there is no GPU and TensorFlow's build has XLA for the CPU."""
    if tf.config.list_physical_devices("GPU"):
        return False
    try:
        # XLA has messages of its own when it compiles for the first time, which may be while
        # another graph is made.
        with without_startup_messages(), tf.init_scope():
            trial = tf.function(_some_of_everything, autograph=False, jit_compile=True)
            return bool(tf.math.is_finite(trial(tf.ones([8, 8]))))
    except tf.errors.OpError:  # some builds come without
        return False


def _some_of_everything(x):
    """What XLA has different ways for: element by element, sums, products of matrices."""
    return tf.reduce_sum(tf.tanh(tf.matmul(x, x)))
