"""A training in a process that tells what it does, and that can be killed at any moment.

The server that the processes are forked from has imported TensorFlow, which takes most of the
seconds of a start, and has computed nothing with it: until then TensorFlow has no threads, which
a fork would lose. NumPy's OpenBLAS has, unless OPENBLAS_NUM_THREADS is 1.
"""

import multiprocessing
import os
import signal
import sys
import time

STEPS, EVERY, LEARNING_RATE = 300, 5, 0.01


def processes():
    """A context whose processes start within a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.synthesis.ddsp_import", "helpers.analysis.features"])
    return context


def train(folder, pipe, dies_at=None):
    """Trains, or goes on, and tells "restored", "trained", "saving", "saved", "done" as it goes.

    Args:
      folder: Of the checkpoints.
      pipe: To tell pairs of a word and a step, and in the end the history and the weights.
      dies_at: The process kills itself before it touches the disk, while saving, for the nth time.
    """
    pipe.send(("threads of the server", len(os.listdir(f"/proc/{os.getppid()}/task"))))
    import tiny_training

    from helpers.training import loop

    class Steps(loop.Steps):
        def __init__(self, *args):
            super().__init__(*args)
            step = self.train

            def train(batch):
                step(batch)
                pipe.send(("trained", self.done))

            self.train = train

    class Checkpoints(loop.Checkpoints):
        def save(self, step, history):
            pipe.send(("saving", step))
            watch.saving = True
            super().save(step, history)
            watch.saving = False
            pipe.send(("saved", step))

        def restore(self):
            history = super().restore()
            pipe.send(("restored", max(self._steps(), default=0)))
            return history

    class Watch:
        saving, touched = False, 0

        def __call__(self, event, args):
            if self.saving and event.split(".")[0] in ("open", "os", "shutil", "tempfile"):
                self.touched += 1
                if self.touched == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)

    watch = Watch()
    sys.addaudithook(watch)
    loop.Steps, loop.Checkpoints, loop.EVALUATE_EVERY = Steps, Checkpoints, EVERY
    instrument = tiny_training.build()
    history = loop.train(instrument, tiny_training.EXAMPLES, folder, STEPS, LEARNING_RATE)
    pipe.send(("done", (history, instrument.network.get_weights())))


class Life:
    """One process of `train`: what it told until it was killed or done."""

    def __init__(self, folder, dies_at=None):
        self._pipe, others = multiprocessing.Pipe(duplex=False)
        self._process = processes().Process(target=train, args=(folder, others, dies_at))
        self._process.start()
        others.close()
        self.told = []

    def until(self, word=None, times=1):
        """Listens until a word was told so often, or else to the end; returns all that was told."""
        while sum(each == word for each, _ in self.told) < (times if word else 1):
            try:
                self.told.append(self._pipe.recv())
            except EOFError:
                break
        return self.told

    def kill(self, after_seconds):
        """Kills the process, unless it is dead, and returns all that it told."""
        time.sleep(after_seconds)
        self._process.kill()
        self._process.join()
        return self.until()
