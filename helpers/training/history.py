"""The losses of a training so far, and a sentence about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

STALLED_STEPS = 500  # in which the held-out loss fell by less ...
STALLED_SHARE = 0.005  # ... than this share, once the learning rate is low, ...
RISEN_SHARE = 0.02  # ... or rose by more than this one, at any time
LATE = 2 / 3  # share of the steps after which the rate, half a cosine, is below a third


@dataclass(frozen=True)
class History:
    """Losses over the steps so far, those of earlier calls included: lists of equal length."""

    step: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    heldout_loss: list[float] = field(default_factory=list)

    def and_then(self, step: int, train_loss: float, heldout_loss: float) -> "History":
        """The history one evaluation later."""
        return History(
            [*self.step, step],
            [*self.train_loss, train_loss],
            [*self.heldout_loss, heldout_loss],
        )

    @property
    def best(self) -> tuple[float, int]:
        """The lowest held-out loss and its step; infinity and 0 before the first evaluation."""
        return min(zip(self.heldout_loss, self.step, strict=True), default=(np.inf, 0))

    def has_stalled(self, n_steps: int) -> bool:
        """Whether a training of `n_steps` hardly gets better any more.

        For `STALLED_STEPS` the held-out loss has risen, or has hardly fallen although the learning
        rate is low. While the rate is high, losses often stand still and fall again later.
        """
        steps, losses = np.array(self.step), np.array(self.heldout_loss)
        before = losses[steps <= (steps[-1:] - STALLED_STEPS)]
        if not len(before):
            return False
        change = losses[len(before) :].min() / before.min() - 1.0
        is_late = steps[-1] >= LATE * n_steps
        return bool(change > RISEN_SHARE or (change > -STALLED_SHARE and is_late))


@dataclass(frozen=True)
class Progress:
    """How far a training is, after an evaluation.

    Attributes:
      history: The `History` of this stage up to now.
      original: Audio [n_samples] of one held-out example, the same each time.
      resynthesis: Audio [n_samples] of its features, played with the weights of now.
      step, steps: How many steps of this stage are done, and how many there will be.
      seconds_left: Until then; NaN where nothing could be timed yet.
      title: Of the stage; empty if it is the only one.
      earlier: Title to `History` of the stages before.
    """

    history: History
    original: np.ndarray
    resynthesis: np.ndarray
    step: int
    steps: int
    seconds_left: float
    title: str = ""
    earlier: Mapping[str, History] = field(default_factory=dict)

    @property
    def stages(self) -> dict[str, History]:
        """Title to `History` of all stages so far."""
        return {**self.earlier, self.title: self.history}

    @property
    def steps_done(self) -> int:
        """How many steps of all stages are done."""
        return self.step + sum(history.step[-1] for history in self.earlier.values())

    @property
    def summary(self) -> str:
        """The stage, the time left, the held-out loss, its best, and whether it still falls."""
        loss, (best, best_step) = self.history.heldout_loss[-1], self.history.best
        title = f"{self.title}. " if self.title else ""
        left = "" if np.isnan(self.seconds_left) else f", {_duration(self.seconds_left)} left"
        at_best = "its best" if loss == best else f"at its best {best:.2f}, at step {best_step:,}"
        stalled = f"; {STALLED}" if self.history.has_stalled(self.steps) else ""
        return (
            f"{title}Step {self.step:,} of {self.steps:,}{left}: the held-out loss is {loss:.2f}, "
            f"{at_best}{stalled}."
        )


STALLED = f"it has hardly fallen for {STALLED_STEPS} steps, you may stop and keep the best"


def _duration(seconds):
    """About how long that is."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
