"""Musical keys by name. Quick to import: the command line offers them before anything is loaded."""

from helpers.errors import InputError

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}  # minor: the natural
KEYS = tuple(f"{tonic} {mode}" for mode in SCALES for tonic in PITCH_CLASSES)
CHROMATIC = "chromatic"  # all semitones


def pitch_classes(key: str) -> tuple[int, ...]:
    """The pitch classes of a key or of "chromatic", 0 for C.

    Raises:
      InputError: There is no such key.

    Example:
      >>> pitch_classes("D minor")
      (2, 4, 5, 7, 9, 10, 0)
    """
    if key == CHROMATIC:
        return tuple(range(12))
    if key not in KEYS:
        raise InputError(f"There is no key {key!r}: choose one such as 'D minor' or 'chromatic'.")
    tonic, mode = key.split()
    return tuple((PITCH_CLASSES.index(tonic) + step) % 12 for step in SCALES[mode])
