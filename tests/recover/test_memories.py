"""Memory that a forward takes, in files while the forward waits."""

import os
import sys
from pathlib import Path

import pytest
import torch

from virtualpool.recover.memories import Files, Memories


def resident() -> int:
    """Bytes of the process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_waits_is_given_back_to_the_system() -> None:
    # From now on glibc keeps blocks of up to 16 MiB, the size of one that was freed.
    torch.ones(2**22)
    files = Files()
    memories = Memories(files)
    with memories:
        # What stays between two maps keeps the heap from shrinking at its end.
        kept = [(torch.ones(2**20), torch.ones(2**8)) for _ in range(32)]
    full = resident()
    memories.to_files()
    assert full - resident() > 32 * 2**21  # half of the maps' 4 MiB at least
    memories.from_files()
    assert all(bool((one == 1).all()) for pair in kept for one in pair)
    files.close()
