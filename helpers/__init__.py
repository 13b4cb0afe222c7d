"""What the three notebooks import: everything that is not the lesson."""

import os

from helpers.errors import show_input_warnings_alone

# ddsp is written for Keras 2. TensorFlow reads this once, when Keras is first touched.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

show_input_warnings_alone()
