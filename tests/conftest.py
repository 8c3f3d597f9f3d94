"""One thread for every test and every process that a test starts: small work, shared machines."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402  the variable has to be there first

torch.set_num_threads(1)
