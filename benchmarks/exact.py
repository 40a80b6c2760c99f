"""How images are segmented for scores that are published: in single precision, as on machines that know no other."""

from nucleiseg import PredictOptions

EXACT = PredictOptions(precision="float32")
