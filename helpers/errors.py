"""The error and the warning that users are meant to read."""

import warnings


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence with the remedy.

    In a notebook only the message is shown: a traceback through library code helps nobody
    who chose a broken file.
    """

    def __init__(self, message: object = "") -> None:
        """Takes the message; characters that no screen can show, as in damaged names, are spelt."""
        super().__init__(str(message).encode("utf-8", "backslashreplace").decode("utf-8"))

    def _render_traceback_(self):  # the hook that IPython looks for on an exception
        return [f"⚠ {self}"]


class InputWarning(UserWarning):
    """What the user gave was used, but not all of it or not as it is; one sentence says how.

    Notebooks and commands show the sentence alone, without the line of code that warns:

    >>> print(warnings.formatwarning("take.wav is clipped.", InputWarning, "notebook.py", 7))
    ⚠ take.wav is clipped.
    <BLANKLINE>
    """


def show_input_warnings_alone() -> None:
    """Has Python print an `InputWarning` as its sentence; other warnings stay as they are."""
    standard = warnings.formatwarning

    def formatted(message, category, *where, **line):
        if issubclass(category, InputWarning):
            return f"⚠ {message}\n"
        return standard(message, category, *where, **line)

    warnings.formatwarning = formatted
