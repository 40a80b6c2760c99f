"""What the C library keeps is given back."""

from __future__ import annotations

import sys

import pytest

from nucleiseg import _allocator

# Blocks too small to be asked of the system one by one, and one after them that keeps the heap from shrinking.
HELD = """
from pathlib import Path
from nucleiseg._allocator import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [bytearray(60_000) for _ in range(2000)]
last = bytearray(60_000)
full = resident()
del blocks
kept = resident()
give_back()
print(full, kept, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the kernel's record of the process")
def test_freed_memory_is_given_back(run_python):
    if _allocator._trim() is None:
        pytest.skip("the C library keeps what it keeps")
    process = run_python(HELD)
    assert process.returncode == 0, process.stderr
    full, kept, given = map(int, process.stdout.split())
    assert kept > full - 20_000_000
    assert given < full - 100_000_000


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_nothing_is_called(platform, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    _allocator._trim.cache_clear()
    try:
        assert _allocator._trim() is None
        _allocator.give_back()
    finally:
        _allocator._trim.cache_clear()
