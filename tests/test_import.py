"""``import nucleiseg`` is quick, quiet and does nothing: everything is loaded when it is first used."""

from __future__ import annotations

import json
import sys
import time

import pytest

HEAVY = ("tensorflow", "keras", "numpy", "scipy", "skimage", "pandas", "matplotlib", "PIL", "tifffile", "h5py", "tqdm")

LOADED = f"""
import json, sys
{{}}
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""

# Each package, and whether importing it may load Keras: networks, training and engines do so at the first use only.
KERAS_FREE = ("datasets", "engines", "heads", "images", "inference", "instances", "networks", "plotting", "training")


def loaded(run_python, statement):
    process = run_python(LOADED.format(statement))
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return set(json.loads(process.stdout))


def test_the_package_alone_loads_nothing_heavy(run_python):
    assert loaded(run_python, "import nucleiseg") == set()


def test_looking_around_loads_nothing_heavy(run_python):
    assert loaded(run_python, "import nucleiseg; dir(nucleiseg), nucleiseg.__version__, nucleiseg.__all__") == set()


def test_packages_load_neither_keras_nor_what_draws_pictures(run_python):
    names = ", ".join(f"nucleiseg.{name}" for name in KERAS_FREE)
    found = loaded(run_python, f"import {names}, nucleiseg.cli.main, nucleiseg.pretrained, nucleiseg.modelfile")
    assert "numpy" in found
    assert found.isdisjoint({"tensorflow", "keras", "pandas", "matplotlib", "h5py", "tqdm"})


def test_settings_and_lists_need_no_keras(run_python):
    found = loaded(
        run_python,
        "import nucleiseg as n; n.PredictOptions(tiling=n.Tiling()); n.list_encoders(); n.list_pretrained();"
        "n.training.FitOptions(); n.training.Augmentation(); n.training.list_targets(); n.heads.list_heads()",
    )
    assert found.isdisjoint({"tensorflow", "keras", "pandas", "matplotlib"})


def test_import_leaves_the_process_as_it_was(run_python):
    process = run_python(
        "import logging, os, random, sys, threading, warnings\n"
        "def state(): return (dict(os.environ), random.getstate(), warnings.filters[:], logging.root.handlers[:],\n"
        "                     threading.active_count(), os.getcwd(), os.listdir(), sys.path[:])\n"
        "before = state()\n"
        "import nucleiseg, nucleiseg.cli.main\n"
        "print([a == b for a, b in zip(before, state())])"
    )
    assert process.stdout.strip() == str([True] * 8)


def seconds(run_python, code):
    started = time.perf_counter()
    assert run_python(code).returncode == 0
    return time.perf_counter() - started


@pytest.mark.skipif(sys.gettrace() is not None, reason="times mean nothing while they are traced")
def test_import_takes_no_longer_than_numpy(run_python):
    # In turns and by the quickest of several: other work on the machine slows both, and never speeds one up.
    times = [
        (seconds(run_python, "import numpy"), seconds(run_python, "import nucleiseg"))  #
        for _ in range(7)
    ]
    numpy, ours = (min(column) for column in zip(*times, strict=True))
    assert ours <= 1.5 * numpy, f"import nucleiseg takes {ours:.3f} s, import numpy {numpy:.3f} s"


def test_modules_that_the_documentation_names_in_full_need_no_import_of_their_own(run_python):
    code = "import nucleiseg; nucleiseg.errors.NucleisegError, nucleiseg.pretrained, nucleiseg.fine_tuning"
    assert "tensorflow" not in loaded(run_python, code)
