"""What bundles of earlier versions play, and figures of tables and of a short training.

`tests/test_golden.py` compares them with the files beside this one, which were made before the
modules of `helpers` were put into folders. `bundles/` holds instruments that shipped then, at
16 kHz with a room, at 44.1 kHz, and with z. `features.npz` holds what the analysis of then found
in the recording, so that transfers are compared and not analyses. To make the samples anew, after
a change that is meant to be heard:

    python tests/golden/make_samples.py
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

GOLDEN = Path(__file__).parent
sys.path[:0] = [str(GOLDEN.parents[1]), str(GOLDEN.parent)]

import tiny_instrument

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import doctor, features
from helpers.evaluation import interpolation, metrics, results
from helpers.instruments import bundles
from helpers.training import dataset, loop
from helpers.transfer import session
from helpers.transfer.settings import Settings

BUNDLES = GOLDEN / "bundles"
MOVED = Settings(
    octaves=1,
    cents=20,
    autotune=0.8,
    attack_s=0.05,
    noise_db=6,
    reverb=1.2,
    quiet_db=20,
    loudness_db=-3,
)
EVERY = 37  # samples, of which one is kept
N_CLIPS = 3
TRAINING_STEPS = 20


def transfers():
    """Title to every 37th sample of 3 s of a sung melody, played by an instrument."""
    phrase, rate = sound.load(config.DATA / "voice" / "oohs_melody.flac")
    phrase = phrase[: 3 * rate]
    before = features_of_before()

    def play(name, settings=Settings(), **options):
        at = "44100 Hz" if name == "violin_44k" else "16000 Hz"
        with mock.patch.object(features, "extract", return_value=before[at]):
            return session.transfer_audio(phrase, rate, BUNDLES / name, settings, **options)

    played = {
        "violin": play("violin"),
        "violin_44k": play("violin_44k"),
        "flute": play("flute"),
        "autoencoder": play("autoencoder"),
        "moved": play("violin", MOVED),
        "without_vibrato": play("violin", Settings(vibrato=-0.5)),
        "with_vibrato": play("violin", Settings(vibrato=0.5)),
        "mixed": play("violin", Settings(mix=0.5), second=BUNDLES / "flute"),
        "at_its_rate": play("violin", keep_rate=True, keep_loudness=True),
    }
    return {title: audio[::EVERY].astype(np.float32) for title, audio in played.items()}


def features_of_before():
    """`Features` of the melody at the rates of the bundles, by their sample rate."""
    with np.load(GOLDEN / "features.npz") as file:
        arrays = dict(file)
    found = {}
    for rate, frame_rate in {"16000 Hz": 125, "44100 Hz": 100}.items():
        curves = [arrays[f"{name} at {rate}"] for name in features.ARRAYS]
        found[rate] = features.Features(*curves, frame_rate)
    return found


def figures():
    """Metrics of both models of the tables on three clips, and what the doctor says."""
    clips = {name: values[:N_CLIPS] for name, values in results.heldout_clips().items()}
    found = {}
    for name, path in {"autoencoder": BUNDLES / "autoencoder", "wavernn": results.WAVERNN}.items():
        instrument = bundles.load(path)
        rates = instrument.sample_rate, instrument.frame_rate
        resynthesized = metrics.resynthesize(instrument, clips)
        found[name] = [
            metrics.compare(original, metrics.measure(played, *rates))
            for original, (_, played, _) in zip(clips["features"], resynthesized, strict=True)
        ]
    autoencoder = bundles.load(BUNDLES / "autoencoder")
    found["interpolation"] = interpolation.evaluate_pairs(autoencoder, clips, n_partners=1)
    found["doctor"] = str(doctor.examine(config.DATA / "violin"))
    return found


def training():
    """The dataset of the shipped violin, and a small instrument after 20 steps on it."""
    with tempfile.TemporaryDirectory() as folder:
        examples = dataset.prepare(config.DATA / "violin", f"{folder}/dataset")
        instrument = tiny_instrument.build()
        history = loop.train(instrument, examples, f"{folder}/checkpoints", TRAINING_STEPS)
        return {
            "statistics": examples.statistics,
            "n_train": len(examples.train["audio"]),
            "n_heldout": len(examples.heldout["audio"]),
            "train_loss": history.train_loss,
            "heldout_loss": history.heldout_loss,
            "played": tiny_instrument.play(instrument)[::EVERY].tolist(),
        }


if __name__ == "__main__":
    np.savez_compressed(GOLDEN / "transfers.npz", **transfers())
    for name, content in {"figures": figures(), "training": training()}.items():
        text = json.dumps(content, indent=1, default=float, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")
