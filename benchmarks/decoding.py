"""Every head's decoder against the network, on 1024 x 1024 pixels with 500 nuclei.

    python benchmarks/decoding.py

The nuclei are discs of 6 to 16 pixels' radius, many of which touch. The maps are what each head is trained to put out
for them, blurred a little as a network's are; the network is that of the model in the box.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from results import keep
from rounds import compare
from scipy import ndimage
from skimage.draw import disk

from nucleiseg import Segmenter
from nucleiseg.engines import KerasEngine
from nucleiseg.heads import get_head, list_heads
from nucleiseg.instances import find_touching, get_decoder
from nucleiseg.training import get_target

SIZE, NUCLEI = 1024, 500


def discs() -> npt.NDArray[np.int32]:
    """Labels 1 to 500; a disc that would lose more than a fifth of its area to others is placed anew."""
    rng = np.random.default_rng(0)
    labels = np.zeros((SIZE, SIZE), np.int32)
    while labels.max() < NUCLEI:
        pixels = disk(rng.uniform(0, SIZE, 2), rng.uniform(6, 16), shape=labels.shape)
        free = labels[pixels] == 0
        if free.mean() > 0.8:
            labels[pixels] = np.where(free, labels.max() + 1, labels[pixels])
    return labels


def main() -> None:
    """Print a table of seconds and ratios to the network's."""
    labels = discs()
    engine = KerasEngine(Segmenter.from_pretrained("nuclei").model)
    image = np.random.default_rng(0).random((1, SIZE, SIZE, 3), np.float32)
    ways = {"network": lambda: engine(image)}
    for name in list_heads():
        head = get_head(name)
        target = get_target(head.target)(labels)
        if head.activation == "softmax":
            target = target / target.sum(-1, keepdims=True)
        maps = np.clip(ndimage.gaussian_filter(target, (1, 1, 0)), 0, 1)
        decode = get_decoder(head.decoder)
        print(f"{name}: {decode(maps, head.thresholds, 0).labels.max()} nuclei found")
        ways[f"decoder of {name}"] = lambda decode=decode, maps=maps, head=head: decode(maps, head.thresholds, 0)
    print(f"{NUCLEI} nuclei, of which {find_touching(labels).size} touch another")
    keep("decoding", "python benchmarks/decoding.py", {"": compare(ways)})


if __name__ == "__main__":
    main()
