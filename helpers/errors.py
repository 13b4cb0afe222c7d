"""The one error that users are meant to read."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence with the remedy.

    In a notebook only the message is shown: a traceback through library code helps nobody
    who chose a broken file.
    """

    def _render_traceback_(self):  # the hook that IPython looks for on an exception
        return [f"⚠ {self}"]
