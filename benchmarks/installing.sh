#!/usr/bin/env bash
# What the two distributions take: megabytes on disk without pip, and seconds until the first prediction.
#
#     bash benchmarks/installing.sh
set -euo pipefail
cd "$(dirname "$0")/.."
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
measure='
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
imported = time.perf_counter() - start
import numpy
from nucleiseg import Segmenter
segmenter = Segmenter.from_pretrained("nuclei")
loaded = time.perf_counter() - start
segmenter.predict(numpy.eye(64))
print(f"  import {sys.argv[1]} {imported:.2f} s, model loaded {loaded:.2f} s, first prediction {time.perf_counter() - start:.2f} s")
'
for what in ". keras" "./packaging/onnx onnxruntime"; do
  read -r source engine <<< "$what"
  python3 -m venv "$made/$engine"
  "$made/$engine/bin/pip" install --quiet "$source"
  echo "pip install $source"
  du -sm --exclude=pip --exclude=setuptools "$made/$engine"/lib/python3*/site-packages | awk '{ print "  " $1 " MB" }'
  for _ in 1 2 3; do (cd "$made" && TF_CPP_MIN_LOG_LEVEL=3 "$made/$engine/bin/python" -c "$measure" "$engine" 2> /dev/null); done
done
