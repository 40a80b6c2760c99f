"""What the commands say, and what they keep other libraries from saying."""

from __future__ import annotations

import os
import sys
import tempfile


def say(text: str) -> None:
    """One line of result, on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """One line about what went wrong, on standard error."""
    sys.stderr.write(f"nucleiseg: {' '.join(text.split())}\n")


def import_tensorflow_quietly() -> None:
    """Import TensorFlow without the dozen lines it writes about the machine.

    Its environment variable silences only what is logged after its logging has started; the rest comes from compiled
    code straight to file descriptor 2, which is diverted meanwhile. If the import fails, all of it is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as diverted:
        os.dup2(diverted.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")  # looks for drivers, and complains where there are none
        except BaseException:
            os.dup2(kept, 2)
            diverted.seek(0)
            sys.stderr.write(diverted.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    tf.get_logger().setLevel("ERROR")
