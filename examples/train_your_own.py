"""Train on your own images: check them, train, choose thresholds, score, look at it, and keep the model.

    python examples/train_your_own.py my_images -o my_nuclei --epochs 30

``my_images`` holds images/ and labels/ with files of the same names, or has another layout of `docs/training.md`. The
encoder starts from ImageNet weights, which Keras downloads once; with few images, --go-on from the model in the box.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nucleiseg import Segmenter, datasets
from nucleiseg.plotting import Row, plot_predictions
from nucleiseg.training import FitOptions


def main() -> None:
    """Run all steps and say where the results are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder, zip or .npz of images with labels")
    parser.add_argument("-o", "--output", type=Path, default=Path("my_nuclei"), help="folder of the results")
    parser.add_argument("--encoder", default="mobilenet_v2", help="one of `nucleiseg encoders`")
    parser.add_argument("--weights", default="imagenet", help="of the encoder: imagenet, none, or a file")
    parser.add_argument("--head", default="distance", help="distance and boundary tell nuclei apart that touch")
    parser.add_argument("--go-on", action="store_true", help="start from the model in the box, whatever the three say")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--crop", type=int, default=256, help="height and width of the crops, a multiple of 32")
    arguments = parser.parse_args()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)

    # 1. What is wrong with the labels? Mistakes there cost more than any choice below.
    data = datasets.read(arguments.data)
    print(datasets.check(data))

    # 2. Images to learn from, to choose the best epoch and the thresholds by, and to report on: never the same.
    train, val, test = data.split(0.6, 0.2, 0.2, seed=0)

    # 3. A frozen encoder first, then everything at a lower rate. The state is kept: the same command goes on from it.
    if arguments.go_on:
        segmenter = Segmenter.from_pretrained("nuclei")
    else:
        weights = None if arguments.weights == "none" else arguments.weights
        segmenter = Segmenter(arguments.encoder, weights, arguments.head, seed=0)
    options = FitOptions(crop=(arguments.crop, arguments.crop), batch_size=min(8, len(train)))
    history = segmenter.fit(train, val, arguments.epochs, options, checkpoint=output / "checkpoint", resume=True)
    print(history)

    # 4. Thresholds are chosen on the validation images, scores are reported on the test images.
    print("thresholds:", segmenter.optimize_thresholds(val))
    found = []
    evaluation = segmenter.evaluate(test, watch=lambda sample, result: found.append((sample, result)))
    print(evaluation)
    evaluation.write_per_image(output / "scores.csv")

    # 5. Look at it: scores hide what a picture shows. Here are the first test images.
    rows = [Row(sample.id, sample.image, sample.labels, result.labels) for sample, result in found[:8]]
    columns = ("image", "true mask", "predicted mask", "agreement")
    written = [
        segmenter.save(output / "model.keras"),  # for Segmenter.load, `nucleiseg predict --model` and count_folder.py
        history.to_csv(output / "history.csv"),
        history.plot(output / "curves.png"),
        segmenter.plot_architecture(output / "unet.png"),
        plot_predictions(rows, output / "test_images.png", columns),
        output / "scores.csv",
    ]
    print("\n".join(map(str, written)))


if __name__ == "__main__":
    main()
