"""`python -m convgate`, which is what `torchrun` starts."""

from convgate.cli import main

main()
