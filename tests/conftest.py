"""One thread for every test and every process that a test starts: small work, shared machines."""

import os

# Before torch is imported, which reads it once.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)

# Triton decides when a kernel is defined whether it compiles for a GPU or is interpreted.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Fixtures that the tests of several packages use.
pytest_plugins = [
    "fixtures.trees",
    "fixtures.shipped",
    "fixtures.fake_study",
    "fixtures.postgres",
]
