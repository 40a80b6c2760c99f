"""``nucleiseg train``: what it leaves, going on after an interruption, and mistakes that cost no time."""

from __future__ import annotations

import inspect
import shutil

import numpy as np
import pytest
from PIL import Image

from nucleiseg.cli.main import main
from nucleiseg.cli.stages import check_data, stages_of
from nucleiseg.datasets import Dataset
from nucleiseg.engines.engine import fingerprint_of
from nucleiseg.errors import TrainingError
from nucleiseg.modelfile import read_settings
from nucleiseg.networks import register_encoder
from nucleiseg.networks.encoders import _encoders
from nucleiseg.plotting import History
from nucleiseg.pretrained import pretrained_recipe
from nucleiseg.segmenter import Segmenter
from nucleiseg.training import FitOptions, faults, read_recipe
from nucleiseg.training.checkpoints import Checkpoint

pytestmark = pytest.mark.usefixtures("eager_steps")

TINY = ["--encoder", "tiny", "--weights", "none", "--epochs", "2", "--crop", "64", "--batch-size", "4"]
WRITTEN = ["model.keras", "model_curves.png", "model_encoder.png", "model_history.csv", "model_unet.png"]


def tiny(weights=None):
    import keras

    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    for _ in range(3):
        x = keras.layers.AveragePooling2D(2)(x)
    return keras.Model(image, keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x))


# Runs the command line with the tiny encoder; with INTERRUPT set, Ctrl-C or (KILL) worse comes after so many epochs.
PROGRAM = f"""
import os, signal, sys
from nucleiseg.cli.main import main
from nucleiseg.networks import register_encoder
{inspect.getsource(tiny)}
register_encoder("tiny")(tiny)
epochs = int(os.environ.get("INTERRUPT", 0))
if epochs:
    from nucleiseg.plotting import History
    plain = History.to_csv
    def to_csv(self, path):
        plain(self, path)
        if len(self.rows) == epochs:
            os.kill(os.getpid(), signal.SIGKILL if "KILL" in os.environ else signal.SIGINT)
    History.to_csv = to_csv
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module", autouse=True)
def tiny_encoder():
    """An encoder that trains in seconds."""
    register_encoder("tiny")(tiny)
    yield
    _encoders.unregister("tiny")


def train(*arguments):
    return main(["train", *map(str, arguments)])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_splits(path, *splits):
    rows = [f"disc{number},{split},{'ab'[number % 2]}" for number, split in enumerate(splits)]
    path.write_text("\n".join(["image_id,split,modality", *rows]))
    return path


@pytest.fixture(scope="module")
def trained(run_python, disc_dataset, tmp_path_factory):
    """A whole run in a process of its own, piped: the process and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("trained")
    table = write_splits(folder / "splits.csv", "train", "train", "train", "val", "test", "test")
    process = run_python(PROGRAM, "train", disc_dataset, "-o", folder / "model.keras", "--splits", table, *TINY)
    table.unlink()
    return process, folder


def test_piped_it_is_quiet(trained):
    process, _ = trained
    assert (process.returncode, process.stderr) == (0, "")


def test_it_leaves_model_history_curves_and_diagrams(trained):
    _, folder = trained
    assert names(folder) == WRITTEN
    for name in WRITTEN:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 200


def test_it_prints_the_scores_of_the_test_images_and_what_it_wrote(trained):
    process, folder = trained
    lines = process.stdout.splitlines()
    assert lines[0].split()[:5] == ["nuclei", "images", "nuclei", "found", "dsb"]
    assert next(line for line in lines if line.startswith("all")).split()[:2] == ["all", "2"]
    assert sorted(lines[-5:]) == [str(folder / name) for name in WRITTEN]


def test_the_history_has_a_row_for_each_epoch(trained):
    _, folder = trained
    history = History.from_csv(folder / "model_history.csv")
    assert [row["epoch"] for row in history.rows] == [1, 2]
    assert {"loss", "val_loss", "val_dice", "learning_rate", "seconds"} <= set(history.rows[0])
    assert {row["phase"] for row in history.rows} == {"full"}


def test_the_model_can_be_used(trained, disc_dataset, tmp_path):
    _, folder = trained
    settings = read_settings(folder / "model.keras")["segmenter"]
    assert (settings["encoder"], settings["weights"], settings["head"]) == ("tiny", None, "semantic")
    result = Segmenter.load(folder / "model.keras").predict(disc_dataset / "images" / "disc0.png")
    assert result.labels.shape == (64, 64)


@pytest.mark.parametrize("end", ["Ctrl-C", pytest.param("kill", marks=pytest.mark.weekly)])
def test_interrupted_it_leaves_its_history_and_goes_on_with_resume(trained, run_python, disc_dataset, tmp_path, end):
    table = write_splits(tmp_path / "splits.csv", "train", "train", "train", "val", "test", "test")
    command = ["train", disc_dataset, "-o", tmp_path / "model.keras", "--splits", table, *TINY]

    if end == "kill":
        assert run_python(PROGRAM, *command, INTERRUPT="1", KILL="1").returncode == -9
    else:
        stopped = run_python(PROGRAM, *command, INTERRUPT="1")
        assert stopped.returncode == 130
        assert stopped.stderr == "nucleiseg: interrupted; go on with --resume\n"
    left = ["model_checkpoint", "model_history.csv", "splits.csv"]
    assert names(tmp_path) == left
    assert [row["epoch"] for row in History.from_csv(tmp_path / "model_history.csv").rows] == [1]

    assert train(*command[1:]) == 2  # the leftover is no accident: it is not overwritten
    assert names(tmp_path) == left

    assert train(*command[1:], "--resume") == 0
    assert names(tmp_path) == [*WRITTEN, "splits.csv"]
    resumed = History.from_csv(tmp_path / "model_history.csv").rows
    at_once = History.from_csv(trained[1] / "model_history.csv").rows
    for one, other in zip(resumed, at_once, strict=True):
        assert (one["phase"], one["monitor"]) == (other["phase"], other["monitor"]) == ("full", "val_dice")
        for column in one.keys() - {"phase", "monitor", "seconds"}:
            assert one[column] == pytest.approx(other[column], rel=1e-3), column


def test_a_loss_that_is_no_number_keeps_the_best_weights(disc_dataset, tmp_path, monkeypatch, capfd):
    plain = faults.FiniteLoss.on_train_batch_end

    def spoil(self, batch, logs=None):
        plain(self, batch, {"loss": float("nan")} if len(self._rows()) == 1 else logs)

    monkeypatch.setattr(faults.FiniteLoss, "on_train_batch_end", spoil)
    assert train(disc_dataset, "-o", tmp_path / "model.keras", *TINY) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "the loss became nan in epoch 2; the best weights of the 1 finished epoch are kept; use a lower" in line
    assert names(tmp_path) == sorted([*WRITTEN, "model_checkpoint"])
    assert [row["epoch"] for row in History.from_csv(tmp_path / "model_history.csv").rows] == [1]
    assert Segmenter.load(tmp_path / "model.keras").run["epochs"] == 1


def test_a_loss_that_is_no_number_at_once_leaves_no_model(disc_dataset, tmp_path, monkeypatch, capfd):
    def spoil(self, batch, logs=None):
        raise MemoryError

    monkeypatch.setattr(faults.FiniteLoss, "on_train_batch_end", spoil)
    assert train(disc_dataset, "-o", tmp_path / "model.keras", *TINY) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "needs more memory than there is" in line
    assert names(tmp_path) == []


@pytest.fixture(scope="module")
def stopped(disc_dataset, tmp_path_factory):
    """The folder of a run that was stopped after its first epoch."""
    folder, plain = tmp_path_factory.mktemp("stopped"), Checkpoint.save

    def save(self, state, settings):
        plain(self, state, settings)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save)
        assert train(disc_dataset, "-o", folder / "model.keras", *TINY) == 130
    return folder


@pytest.fixture
def interrupted(stopped, tmp_path, capfd):
    """The model that a stopped run is to write, in a copy of its folder."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    capfd.readouterr()
    return tmp_path / "model.keras"


@pytest.mark.parametrize(
    ("flags", "change"),
    [
        (["--epochs", "3"], "epochs was 2, is 3"),
        (["--encoder", "mobilenet_v3_small"], "encoder was 'tiny', is 'mobilenet_v3_small'"),
        (["--loss", "dice"], "loss was 'bce_dice', is 'dice'"),
    ],
)
def test_other_settings_do_not_go_on(interrupted, disc_dataset, capfd, flags, change):
    assert train(disc_dataset, "-o", interrupted, *TINY, *flags, "--resume") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"({change}); use the same, or delete the folder" in line
    assert names(interrupted.parent) == ["model_checkpoint"]


def test_other_images_do_not_go_on(interrupted, disc_dataset, tmp_path, capfd):
    data = tmp_path / "data"
    shutil.copytree(disc_dataset, data)
    for kind in ("images", "labels"):
        (data / kind / "disc0.png").rename(data / kind / "other.png")
    assert train(data, "-o", interrupted, *TINY, "--resume") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "train was '5 images with the fingerprint" in line


def test_resume_without_a_checkpoint_begins(disc_dataset, tmp_path, capfd):
    data = shutil.copytree(disc_dataset, tmp_path / "data")
    assert train(data, "-o", tmp_path / "new" / "model.keras", *TINY, "--epochs", "1", "--resume") == 0
    assert names(tmp_path / "new") == WRITTEN
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == [str(tmp_path / "new" / name) for name in WRITTEN]  # no test images, no scores
    assert err == ""


class Recorder:
    """In place of a `Segmenter`: remembers what it is made of and trained on, and trains nothing."""

    made: dict
    fitted: dict

    def __init__(self, **settings):
        Recorder.made = settings

    def fit(self, train, val, epochs, options, checkpoint, resume, watch):
        Recorder.fitted = {"train": train, "val": val, "epochs": epochs, "options": options, "resume": resume}
        return History(({"epoch": 1, "loss": 0.5},))

    def optimize_thresholds(self, data):
        Recorder.fitted["tuned"] = data

    def save(self, path, half):
        Recorder.fitted["half"] = half
        path.write_bytes(b"model")
        return path

    def plot_architecture(self, path, part="unet"):
        path.write_bytes(b"picture")
        return path

    def evaluate(self, data):
        Recorder.fitted["test"] = data
        return "scores"


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr("nucleiseg.segmenter.Segmenter", Recorder)
    return Recorder


def test_flags_arrive(recorder, disc_dataset, tmp_path):
    flags = ["--encoder", "vgg16", "--weights", "none", "--loss", "dice", "--half", "--seed", "3", "--deterministic"]
    numbers = ["--epochs", "7", "--frozen-epochs", "2", "--batch-size", "5", "--crop", "96", "--patience", "4"]
    table = write_splits(tmp_path / "splits.csv", *["train"] * 6)
    balance = ["--splits", table, "--balance", "modality"]
    assert train(disc_dataset, "-o", tmp_path / "m.keras", *flags, *numbers, *balance) == 0
    assert recorder.made == {"encoder": "vgg16", "weights": None, "loss": "dice", "seed": 3, "deterministic": True}
    options = recorder.fitted["options"]
    assert (options.batch_size, options.crop, options.patience, options.frozen_epochs) == (5, (96, 96), 4, 2)
    assert options.balance == "modality"
    assert (recorder.fitted["epochs"], recorder.fitted["half"], recorder.fitted["resume"]) == (7, True, False)


def test_without_flags_all_is_as_it_is_in_python(recorder, disc_dataset, tmp_path):
    assert train(disc_dataset, "-o", tmp_path / "m.keras") == 0
    assert recorder.made == {}
    assert (recorder.fitted["epochs"], recorder.fitted["options"]) == (30, FitOptions())


def test_a_recipe_sets_what_no_flag_sets(recorder, disc_dataset, tmp_path):
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        f"[data]\npath = '{disc_dataset}'\n[network]\nhead = 'distance'\nweights = 'none'\nseed = 4\n"
        "[training]\nepochs = 9\nbatch_size = 3\ncrop = [64, 96]\n[output]\nhalf = true\n"
    )
    assert train("-o", tmp_path / "m.keras", "--recipe", recipe, "--epochs", "2", "--seed", "1") == 0
    assert recorder.made == {"head": "distance", "weights": None, "seed": 1}
    assert recorder.fitted["options"] == FitOptions(batch_size=3, crop=(64, 96), seed=1)
    assert (recorder.fitted["epochs"], recorder.fitted["half"]) == (2, True)


def test_thresholds_are_tuned_on_validation_images(recorder, disc_dataset, tmp_path):
    assert train(disc_dataset, "-o", tmp_path / "m.keras") == 0
    assert recorder.fitted["tuned"] is recorder.fitted["val"]
    table = write_splits(tmp_path / "splits.csv", *["train"] * 6)
    assert train(disc_dataset, "-o", tmp_path / "m.keras", "--splits", table) == 0
    assert "tuned" not in recorder.fitted


def test_without_data_there_is_nothing_to_learn(tmp_path, capfd):
    assert train("-o", tmp_path / "m.keras") == 2
    assert "there must be labelled images" in capfd.readouterr().err


def test_the_recipe_of_a_shipped_model_goes_by_its_name(tmp_path, capfd):
    assert train("-o", tmp_path / "m.keras", "--recipe", "nucleii") == 2
    assert "did you mean 'nuclei'?" in capfd.readouterr().err


def test_weights_may_be_a_file(recorder, disc_dataset, tmp_path):
    weights = tmp_path / "weights.h5"
    weights.touch()
    assert train(disc_dataset, "-o", tmp_path / "m.keras", "--weights", weights) == 0
    assert recorder.made["weights"] == str(weights)


def test_without_a_table_a_tenth_chooses_the_best_epoch(recorder, disc_dataset, tmp_path):
    assert train(disc_dataset, "-o", tmp_path / "m.keras") == 0
    train_ids, val_ids = recorder.fitted["train"].ids, recorder.fitted["val"].ids
    assert (len(train_ids), len(val_ids)) == (5, 1)
    assert not {*train_ids} & {*val_ids}
    assert "test" not in recorder.fitted


def test_a_model_is_trained_further(trained, disc_dataset, tmp_path):
    _, folder = trained
    first = folder / "model.keras"
    options = ["--epochs", "1", "--frozen-epochs", "0", "--crop", "64"]
    assert train(disc_dataset, "-o", tmp_path / "second.keras", "--start", first, *options) == 0
    one, two = Segmenter.load(first), Segmenter.load(tmp_path / "second.keras")
    assert read_settings(tmp_path / "second.keras")["segmenter"]["encoder"] == "tiny"
    weights = [(a, b) for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True)]
    assert any(not np.array_equal(a, b) for a, b in weights)
    assert all(np.abs(a - b).max() < 0.05 for a, b in weights)  # a new network would be anywhere


CHAIN = {
    "first.toml": '[network]\nencoder = "tiny"\nweights = "none"\nwidths = [4, 4, 4, 4, 4]\n'
    "[training]\nepochs = 2\ncrop = [32, 32]\n",
    "second.toml": '[training]\nstart = "first.toml"\nepochs = 1\ncrop = [32, 32]\nfrozen_epochs = 0\n',
}


@pytest.fixture
def chain(tmp_path):
    """Two recipes, the second of which starts from the model that the first makes."""
    for name, text in CHAIN.items():
        (tmp_path / name).write_text(text)
    return tmp_path / "second.toml"


def test_a_recipe_may_have_the_network_grow(chain, disc_dataset, tmp_path):
    chain.write_text(f"[network]\nrefine = true\nseed = 5\n{CHAIN['second.toml']}fine_tune_rate = 1e-7\n")
    assert train(disc_dataset, "--recipe", chain, "-o", tmp_path / "m.keras") == 0
    one, two = (Segmenter.load(tmp_path / name) for name in ("m_start.keras", "m.keras"))
    assert two.model.count_params() > one.model.count_params()
    assert read_settings(tmp_path / "m.keras")["segmenter"]["seed"] == 5
    image = np.random.default_rng(0).random((64, 64, 3))
    np.testing.assert_allclose(one.predict(image).probability, two.predict(image).probability, atol=0.01)


@pytest.mark.weekly
def test_the_seed_decides_what_a_network_grows_by(chain, disc_dataset, tmp_path):
    chain.write_text(f"[network]\nrefine = true\n{CHAIN['second.toml']}")
    assert train(disc_dataset, "--recipe", chain, "-o", tmp_path / "m.keras", "--seed", "7") == 0
    assert read_settings(tmp_path / "m.keras")["segmenter"]["seed"] == 7


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ('encoder = "tinny"', "unknown encoder 'tinny'; did you mean 'tiny'?"),
        ('head = "semantic"', "let it grow by encoder or refine alone"),
        ('encoder = "residual_small"', "a network must have every layer of the one whose weights it takes over"),
    ],
)
def test_a_network_that_cannot_grow_is_told_before_any_training(chain, disc_dataset, tmp_path, capfd, network, message):
    chain.write_text(f"[network]\n{network}\n{CHAIN['second.toml']}")
    assert train(disc_dataset, "--recipe", chain, "-o", tmp_path / "m.keras") == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.glob("m*"))


def test_a_recipe_that_starts_from_another_runs_that_one_first_and_once(chain, disc_dataset, tmp_path, capfd):
    options = [disc_dataset, "--recipe", chain, "-o", tmp_path / "m.keras"]
    assert train(*options) == 0
    logs = [(tmp_path / name).read_text().splitlines() for name in ("m_start_history.csv", "m_history.csv")]
    assert [log[-1].split(",")[0] for log in logs] == ["2", "1"]
    one, two = (Segmenter.load(tmp_path / name).model.get_weights() for name in ("m_start.keras", "m.keras"))
    assert [a.shape for a in one] == [b.shape for b in two]
    before = (tmp_path / "m_start.keras").stat().st_mtime_ns
    assert train(*options) == 2
    assert "m_start.keras holds an earlier run" in capfd.readouterr().err
    assert train(*options, "--resume") == 0
    assert (tmp_path / "m_start.keras").stat().st_mtime_ns == before
    capfd.readouterr()
    assert train(*options, "--resume", "--seed", "3") == 2  # which holds other images out
    assert "m_start.keras was trained with other settings (train was '5 images with the" in capfd.readouterr().err


def test_a_training_of_a_chain_that_failed_is_gone_on_with(recorder, chain, disc_dataset, tmp_path, monkeypatch):
    fitted, faults = [], [TrainingError("the loss became nan", rows=({"epoch": 1, "loss": 0.5},))]

    def fit(self, train, val, epochs, options, checkpoint, resume, watch):
        fitted.append((checkpoint.name, resume))
        checkpoint.mkdir(exist_ok=True)  # as after the first epoch
        if faults:
            raise faults.pop()
        return History(({"epoch": 1, "loss": 0.5},))

    monkeypatch.setattr(recorder, "fit", fit)
    monkeypatch.setattr(recorder, "fitted", {}, raising=False)
    monkeypatch.setattr(recorder, "thresholds", {}, raising=False)
    monkeypatch.setattr(recorder, "load", classmethod(lambda cls, path: cls()), raising=False)
    options = [disc_dataset, "--recipe", chain, "-o", tmp_path / "m.keras"]
    assert train(*options) == 1
    assert fitted == [("m_start_checkpoint", False)]
    assert (tmp_path / "m_start.keras").exists()  # with the best weights until then
    assert train(*options, "--resume") == 0
    assert fitted[1:] == [("m_start_checkpoint", True), ("m_checkpoint", True)]
    assert not list(tmp_path.glob("*_checkpoint"))


def test_the_start_of_a_recipe_may_teach(chain, disc_dataset, tmp_path):
    chain.write_text(f'{CHAIN["second.toml"]}keep = "last"\nteacher = "start"\nteaching = 0.25\n')
    assert train(disc_dataset, "--recipe", chain, "-o", tmp_path / "m.keras") == 0
    learned = read_settings(tmp_path / "m.keras")["segmenter"]["run"]["data"]["train"]
    assert learned["share"] == 0.25
    assert learned["teacher"] == fingerprint_of(Segmenter.load(tmp_path / "m_start.keras")._engine)
    assert "teacher" not in read_settings(tmp_path / "m_start.keras")["segmenter"]["run"]["data"]["train"]


@pytest.mark.parametrize(
    ("teacher", "status", "message"),
    [
        ("nuclei", 2, "a teacher must have the head of the model that learns, 'semantic', got 'contact'"),
        ("nuclie", 2, "unknown pretrained model 'nuclie'; did you mean 'nuclei'?"),
        ("gone.keras", 1, "gone.keras does not exist; check the path"),
    ],
)
def test_a_teacher_that_cannot_teach_is_told_before_any_training(
    chain, disc_dataset, tmp_path, capfd, teacher, status, message
):
    chain.write_text(f'{CHAIN["second.toml"]}teacher = "{teacher}"\n')
    assert train(disc_dataset, "--recipe", chain, "-o", tmp_path / "m.keras") == status
    assert message in capfd.readouterr().err
    assert not list(tmp_path.glob("m*"))


def place(**data):
    return "[data]\n" + "".join(f"{key} = '{value}'\n" for key, value in data.items())


@pytest.mark.parametrize(
    ("first", "second", "flags", "message"),
    [
        ({"path": "A"}, {"path": "B"}, [], "path = {0}/A in the recipe that makes m_start.keras and {0}/B in the last"),
        ({"path": "A"}, {}, [], "path = {0}/A in the recipe that makes m_start.keras and none in the last one"),
        ({"path": "B"}, {"path": "B", "splits": "s.csv"}, [], "splits = none in the recipe"),
        ({"path": "A", "labels": "C"}, {"path": "B"}, ["DATA"], "and none in the last one; write the same [data] into"),
        ({"splits": "a.csv"}, {"splits": "b.csv"}, ["DATA", "--labels", "L"], "or give --splits on the command line"),
    ],
)
def test_a_chain_of_other_images_is_refused_before_any_work(chain, tmp_path, capfd, first, second, flags, message):
    """Each training would learn from the images of the last recipe, without a word."""
    for name, data in (("first.toml", first), ("second.toml", second)):
        (tmp_path / name).write_text(place(**data) + CHAIN[name])
    assert train("--recipe", chain, "-o", tmp_path / "m.keras", *flags) == 2
    told = capfd.readouterr().err
    assert "all trainings of a chain must learn from the same images, split alike, got" in told
    assert message.format(tmp_path) in told


@pytest.mark.parametrize(
    ("first", "second", "flags"),
    [
        ({"path": "elsewhere/../discs"}, {"path": "discs"}, []),
        ({}, {"path": "discs"}, []),
        ({"path": "A", "labels": "C"}, {"path": "B"}, ["discs/images", "--labels", "discs/labels"]),
        ({"path": "discs", "splits": "gone.csv"}, {"path": "discs"}, ["--splits", "splits.csv"]),
    ],
)
def test_a_chain_learns_from_what_is_the_same_or_given(
    recorder, chain, disc_dataset, tmp_path, monkeypatch, first, second, flags
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recorder, "load", classmethod(lambda cls, path: cls()), raising=False)
    monkeypatch.setattr(recorder, "thresholds", {}, raising=False)
    (tmp_path / "discs").symlink_to(disc_dataset)
    (tmp_path / "elsewhere").mkdir()
    write_splits(tmp_path / "splits.csv", *["train"] * 5, "val")
    for name, data in (("first.toml", first), ("second.toml", second)):
        (tmp_path / name).write_text(place(**data) + CHAIN[name])
    assert train("--recipe", chain, "-o", tmp_path / "m.keras", *flags) == 0
    assert len(recorder.fitted["train"]) == 5


@pytest.mark.parametrize("name", ["nuclei", "nuclei-fast"])
def test_the_recipes_that_are_shipped_agree_on_their_images(name, tmp_path):
    stages = stages_of(read_recipe(pretrained_recipe(name)), tmp_path / "m.keras")
    assert len(stages) > 1
    check_data(stages, ())


def test_a_recipe_cannot_start_from_itself(disc_dataset, tmp_path, capfd):
    recipe = tmp_path / "round.toml"
    recipe.write_text('[training]\nstart = "round.toml"\n')
    assert train(disc_dataset, "--recipe", recipe, "-o", tmp_path / "m.keras") == 2
    assert "round.toml must not start from itself; name a model or another recipe" in capfd.readouterr().err


def test_a_model_that_does_not_become_better_is_told(recorder, trained, disc_dataset, tmp_path, monkeypatch, capfd):
    rows = ({"epoch": 0, "val_dice": 0.9}, {"epoch": 1, "loss": 0.5, "val_dice": 0.8})
    monkeypatch.setattr(recorder, "fit", lambda self, *_, **__: History(rows))
    monkeypatch.setattr(recorder, "fitted", {}, raising=False)
    monkeypatch.setattr(recorder, "load", classmethod(lambda cls, path: cls()), raising=False)
    first = trained[1] / "model.keras"
    assert train(disc_dataset, "-o", tmp_path / "second.keras", "--start", first) == 0
    assert capfd.readouterr().err == f"nucleiseg: no epoch was better than {first} was, so its weights are kept\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--start", "nuclie"], "unknown shipped model to start from 'nuclie'; did you mean 'nuclei'?"),
        (["--start", "gone.keras"], "the model to start from must be a file, got gone.keras, which is none"),
        (["--start", "gone.KERAS"], "the model to start from must be a file, got gone.KERAS, which is none"),
        (["--start", "gone.keras", "--head", "distance"], "got head beside gone.keras; leave out one of the two"),
    ],
)
def test_a_model_to_start_from_must_be_there(disc_dataset, tmp_path, capfd, flags, message):
    assert train(disc_dataset, "-o", tmp_path / "model.keras", *flags) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_a_handful_of_images_one_chooses_the_best_epoch(recorder, disc_dataset, tmp_path, count):
    for kind in ("images", "labels"):
        (tmp_path / "few" / kind).mkdir(parents=True)
        for number in range(count):
            shutil.copy(disc_dataset / kind / f"disc{number}.png", tmp_path / "few" / kind)
    assert train(tmp_path / "few", "-o", tmp_path / "m.keras") == 0
    assert len(recorder.fitted["train"]) == max(1, count - 1)
    assert recorder.fitted["val"] is None if count == 1 else len(recorder.fitted["val"]) == 1


def test_the_table_decides_the_splits(recorder, disc_dataset, tmp_path, capfd):
    table = write_splits(tmp_path / "splits.csv", "test", "train", "val", "train", "val", "train")
    assert train(disc_dataset, "-o", tmp_path / "m.keras", "--splits", table) == 0
    assert {name: recorder.fitted[name].ids for name in ("train", "val", "test")} == {
        "train": ("disc1", "disc3", "disc5"),
        "val": ("disc2", "disc4"),
        "test": ("disc0",),
    }
    assert capfd.readouterr().out.startswith("scores\n")


def test_test_images_never_choose_the_best_epoch(recorder, disc_dataset, tmp_path):
    table = write_splits(tmp_path / "splits.csv", "train", "train", "train", "test", "test", "test")
    assert train(disc_dataset, "-o", tmp_path / "m.keras", "--splits", table) == 0
    assert recorder.fitted["val"] is None
    assert recorder.fitted["test"].ids == ("disc3", "disc4", "disc5")


def test_a_table_of_training_images_alone_will_do(recorder, disc_dataset, tmp_path):
    table = write_splits(tmp_path / "splits.csv", *["train"] * 6)
    assert train(disc_dataset, "-o", tmp_path / "m.keras", "--splits", table) == 0
    assert (len(recorder.fitted["train"]), recorder.fitted["val"]) == (6, None)


def test_labels_may_lie_elsewhere(recorder, disc_dataset, tmp_path):
    assert train(disc_dataset / "images", "--labels", disc_dataset / "labels", "-o", tmp_path / "m.keras") == 0
    assert len(recorder.fitted["train"]) == 5


def test_what_only_keras_knows_is_found_before_images_are_decoded(disc_dataset, tmp_path, monkeypatch, capfd):
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"no weights")

    def prepare(self):
        pytest.fail("all images were decoded before the mistake was found")

    monkeypatch.setattr(Dataset, "prepare", prepare)
    flags = ["--encoder", "mobilenet_v3_small", "--weights", str(weights)]
    assert train(disc_dataset, "-o", tmp_path / "m.keras", *flags) in (1, 2)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("nucleiseg: ")
    assert names(tmp_path) == ["weights.h5"]


def test_a_damaged_image_is_one_line_and_leaves_nothing(disc_dataset, tmp_path, capfd):
    data = shutil.copytree(disc_dataset, tmp_path / "data")
    (data / "images" / "disc3.png").write_bytes(b"no image")
    (tmp_path / "out").mkdir()
    assert train(data, "-o", tmp_path / "out" / "m.keras", *TINY) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "disc3.png" in line
    assert names(tmp_path / "out") == []


def test_a_model_that_is_trained_anew_is_replaced_only_in_the_end(recorder, disc_dataset, tmp_path, monkeypatch):
    model = tmp_path / "m.keras"
    model.write_bytes(b"old")

    def fit(self, *arguments, **settings):
        assert model.read_bytes() == b"old"
        raise MemoryError("too small a machine")

    monkeypatch.setattr(recorder, "fit", fit)
    assert train(disc_dataset, "-o", model) == 1
    assert model.read_bytes() == b"old"
