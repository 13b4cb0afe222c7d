"""history: what is said of losses that are known."""

import numpy as np
import pytest

from helpers.training.history import History, Progress


def of(*heldout_losses, every=50):
    steps = [every * (i + 1) for i in range(len(heldout_losses))]
    return History(steps, [9.0] * len(steps), list(heldout_losses))


def test_the_best():
    assert of(3.0, 1.0, 2.0).best == (1.0, 100)
    assert of().best[0] == np.inf


def test_one_evaluation_later():
    before = of(3.0)
    assert before.and_then(100, 9.0, 2.0) == of(3.0, 2.0)
    assert before == of(3.0)


@pytest.mark.parametrize(
    "losses, early, late",
    [
        ([], False, False),
        ([5.0] * 10, False, False),  # 500 steps, but none before them
        ([5.0] * 11, False, True),
        ([5.0] * 10 + [4.97], False, False),
        ([5.0] * 10 + [4.98], False, True),
        ([5.0] + [5.09] * 10, False, True),
        ([5.0] + [5.11] * 10, True, True),
        ([5.0 - 0.003 * i for i in range(20)], False, False),
    ],
)
def test_a_loss_stalls_that_rises_or_late_hardly_falls_in_500_steps(losses, early, late):
    steps = 50 * len(losses)
    assert of(*losses).has_stalled(2 * steps) == early
    assert of(*losses).has_stalled(steps) == late
    assert of(*losses).has_stalled(steps * 3 // 2) == late


@pytest.mark.parametrize(
    "losses, seconds_left, sentence",
    [
        ([6.5, 6.25], 7.4, "Step 100 of 1,500, 7 s left: the held-out loss is 6.25, its best."),
        (
            [6.25, 6.5],
            90.0 * 60,
            "Step 100 of 1,500, 90 minutes left: the held-out loss is 6.50, at its best 6.25, at "
            "step 50.",
        ),
        ([6.0], np.nan, "Step 50 of 1,500: the held-out loss is 6.00, its best."),
        (
            [6.0] * 24,
            3 * 3600,
            "Step 1,200 of 1,500, 3 hours left: the held-out loss is 6.00, its best; it has hardly "
            "fallen for 500 steps, you may stop and keep the best.",
        ),
    ],
)
def test_what_progress_says(losses, seconds_left, sentence):
    losses = of(*losses)
    said = Progress(losses, np.zeros(1), np.zeros(1), losses.step[-1], 1500, seconds_left).summary
    assert said == sentence
