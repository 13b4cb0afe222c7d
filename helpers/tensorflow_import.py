"""Imports TensorFlow without its messages at the start, which a notebook would show in red.

    from helpers.tensorflow_import import tf

Since 2.17 TensorFlow writes them before it reads TF_CPP_MIN_LOG_LEVEL: what the processor can do
and, where there is no NVIDIA driver, that it found no GPU. All its other messages are passed on.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

STARTUP_MESSAGES = re.compile(
    r"before absl::InitializeLog|port\.cc|cpu_feature_guard\.cc|To enable the following"
    r"|cudart_stub\.cc|cuda_platform\.cc|cuda_executor\.cc.*unknown"
    r"|XLA service|StreamExecutor|Compiled cluster using XLA|dump_mlir_util\.cc|^\s*$"
)


@contextlib.contextmanager
def without_startup_messages() -> Iterator[None]:
    """Holds the error stream of the process back, that of C++ included, and passes on the rest."""
    stream = os.dup(2)
    with tempfile.TemporaryFile("w+", errors="replace") as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stream, 2)
            os.close(stream)
            held.seek(0)
            sys.stderr.writelines(line for line in held if not STARTUP_MESSAGES.search(line))


with without_startup_messages():
    import tensorflow as tf
    import tf_keras  # noqa: F401  Keras 2 by its own name, whichever Keras `tf.keras` is

    tf.config.list_physical_devices()  # looks for a GPU, and says so, when first called
