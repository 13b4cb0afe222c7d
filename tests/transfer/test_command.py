"""`python -m helpers.transfer`: what it plays, prints and returns."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import soundfile
import tiny_instrument

from helpers import config
from helpers.instruments import bundles
from helpers.transfer import __main__ as command
from helpers.transfer.settings import Settings


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    bundles.save(tiny_instrument.build(), path)
    return path


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a song.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 330 * np.arange(12800) / 16000), 16000)
    return path


def test_a_file(bundle, recording, capsys):
    target = recording.with_name("out.flac")
    arguments = [str(recording), str(target), "--checkpoint", str(bundle), "--key", "d MINOR"]
    assert command.main([*arguments, "--octaves", "-1", "--no-fit-register"]) == 0
    assert capsys.readouterr().out.strip().endswith(".")
    with soundfile.SoundFile(target) as file:
        made = json.loads(file.comment.partition("; settings: ")[2])
    assert made == {"octaves": -1, "fit_register": False, "key": "D minor"}
    assert command.main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert command.main([*arguments, "--overwrite"]) == 0


def test_a_file_as_it_is(bundle, recording, capsys):
    target = recording.with_name("out.wav")
    assert command.main([str(recording), str(target), "--checkpoint", str(bundle), "--as-is"]) == 0
    assert capsys.readouterr().out == "Nothing was fitted.\n"
    with soundfile.SoundFile(target) as file:
        assert json.loads(file.comment.partition("; settings: ")[2]) == {"as_is": True}


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nothing.wav", "out.wav"], "There is no file nothing.wav"),
        (["nothing.wav", "out.wav", "--mix", "0.5", "--second", "x"], "There is no instrument x"),
        (["nothing.wav", "out.wav", "--mix", "0.5"], "no second instrument"),
        (["nothing.wav", "out.ogg"], "as .wav or .flac"),
        (["nothing.wav", "out.wav", "--as-is", "--octaves", "1"], "as it is .*Octaves"),
    ],
)
def test_an_error_is_one_sentence(bundle, arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main([*arguments, "--checkpoint", str(bundle)]) == 1
    printed = capsys.readouterr().err.strip().split("\n")[-1]
    assert re.search(sentence, printed) and "Traceback" not in printed and printed.endswith(".")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, option",
    [
        (["a.wav", "b.wav", "--octaves", "9"], "--octaves"),
        (["a.wav", "b.wav", "--octaves", "1.5"], "--octaves"),
        (["a.wav", "b.wav", "--mix", "nan"], "--mix"),
        (["a.wav", "b.wav", "--key", "H major"], "--key"),
        (["", "b.wav"], "source"),
        (["a.wav", ""], "target"),
    ],
)
def test_a_wrong_argument_is_named(arguments, option, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert f"argument {option}" in capsys.readouterr().err.splitlines()[-1]


def test_a_folder(bundle, recording, tmp_path_factory, capsys):
    (recording.parent / "broken.wav").write_text("no sound")
    target = tmp_path_factory.mktemp("played")
    arguments = [str(recording.parent), str(target), "--checkpoint", str(bundle)]
    assert command.main(arguments) == 1
    printed = capsys.readouterr()
    assert "a song.wav: " in printed.out and "broken.wav is passed over: " in printed.err
    assert (target / "a song.wav").is_file()
    command.main(arguments)
    assert "--overwrite" in capsys.readouterr().out


def test_the_help_lists_settings_and_instruments(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    listed = capsys.readouterr().out
    for setting in fields(Settings):
        assert f"--{setting.name.replace('_', '-')}" in listed
    for path in config.CHECKPOINTS.glob("*/model_card.json"):
        assert path.parent.name in listed


def test_arguments_are_parsed_without_heavy_libraries():
    code = (
        "import sys\nfrom helpers.transfer.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "loaded = {'tensorflow', 'librosa', 'numpy', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=config.ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="names of files are text elsewhere")
def test_names_that_the_locale_cannot_show(bundle, recording, tmp_path):
    """In a folder and alone, in no locale: nothing is passed over for its name."""
    songs = tmp_path / "songs"
    songs.mkdir()
    for name in ("Zoë.wav".encode(), b"not UTF-8 \xff.wav"):
        (songs / os.fsdecode(name)).write_bytes(recording.read_bytes())
    command_line = [sys.executable, "-m", "helpers.transfer", songs, tmp_path / "played"]
    done = subprocess.run(
        [*command_line, "--checkpoint", bundle],
        cwd=config.ROOT,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    written = sorted(os.fsencode(path.name) for path in (tmp_path / "played").iterdir())
    assert written == sorted(("Zoë.wav".encode(), b"not UTF-8 \xff.wav"))
    with soundfile.SoundFile(tmp_path / "played" / "Zoë.wav") as file:
        assert file.title == "Zoë" and "Zoë" in file.comment
