"""What the three notebooks import: everything that is not the lesson."""

import os
from pathlib import Path

# ddsp is written for Keras 2. TensorFlow reads this once, when Keras is first touched.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# TensorFlow greets with lines about CPU instructions and, where there is no NVIDIA driver, calls
# it an error that it found no GPU. Where there is one, its errors stay.
_GPU = Path("/proc/driver/nvidia").exists()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _GPU else "3")
