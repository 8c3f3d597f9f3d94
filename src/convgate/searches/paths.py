"""One network that holds every candidate of a search, trained once along sampled paths.

Single path one-shot: "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
Guo et al. 2020, https://arxiv.org/abs/1904.00420. Fair sampling: "FairNAS: Rethinking Evaluation
Fairness of Weight Sharing Neural Architecture Search", Chu et al. 2021,
https://arxiv.org/abs/1907.01845.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.gates import Gate
from convgate.insertion import Insertion, inserted
from convgate.insertion.identity import start_as_identity
from convgate.insertion.module_tree import MARK
from convgate.networks.specs import GateSpec
from convgate.pictures.order import generator
from convgate.searches.space import Combination, Space, build_candidate

NAME = f"{__name__}:Paths"
"""What a recipe calls the module that holds the candidates of a site."""


class Paths(Gate):
    """The candidates of one site, none of them first; a forward takes one.

        y = x or y = gate_k(x)

    In training each of K consecutive forwards takes another of the K candidates, in an order drawn
    anew from (seed, stage, round): all sites of a stage take the same, each is trained equally
    often, and the order needs no memory but the count of forwards. Otherwise `choice` is taken.

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: arXiv 1907.01845, section 4, with an update after every path; a candidate that does
        not fit the channels is the identity.

    Args:
        channels: C.
        gates: Names of the gates.
        options: Options of all gates that have them.
        seed: What the order is drawn from.
    """

    is_product: ClassVar[bool] = False

    def __init__(
        self, channels: int, *, gates: Sequence[str], options: object = None, seed: int = 0
    ) -> None:
        super().__init__(channels)
        given: Mapping[str, object] = options if isinstance(options, Mapping) else {}
        self.names = ("none", *gates)
        made = [_candidate(gate, channels, given) for gate in gates]
        self.candidates = nn.ModuleList([nn.Identity(), *made])
        self.seed = seed
        self.choice: int | None = None
        """The candidate to take; None for the next of the order in training, the first else."""
        self.forwards: Tensor
        self.register_buffer("forwards", torch.zeros((), dtype=torch.long))

    def constant_(self) -> float:
        """Let every candidate start as the identity."""
        for place, candidate in enumerate(self.candidates):
            if isinstance(candidate, Gate):
                self.candidates[place] = start_as_identity(candidate)
        return 1.0

    def gate(self, x: Tensor) -> Tensor:
        raise NotImplementedError("Paths: its candidates need not be a product")

    def forward(self, x: Tensor) -> Tensor:
        return self.candidates[self._turn()](x)

    def _turn(self) -> int:
        if self.choice is not None or not self.training:
            return self.choice or 0
        count, self.forwards = int(self.forwards), self.forwards + 1
        turn, place = divmod(count, len(self.candidates))
        stage = vars(self)[MARK].site.stage
        order = torch.randperm(len(self.candidates), generator=generator(self.seed, stage, turn))
        return int(order[place])


def _candidate(gate: str, channels: int, options: Mapping[str, object]) -> nn.Module:
    try:
        return build_candidate(gate, channels, options)
    except InputError:
        return nn.Identity()


def path_spec(space: Space, seed: int) -> GateSpec:
    """Return the section of a recipe that puts all candidates of a space into its network."""
    options: dict[str, object] = {"gates": list(space.gates), "seed": seed}
    if space.options:
        options["options"] = dict(space.options)
    start: Any = space.start
    return GateSpec(name=NAME, at=space.at, stages=space.stages, start=start, options=options)


def take_path(model: nn.Module, space: Space, combination: Combination) -> None:
    """Let every site of a network take the candidate of its stage."""
    gate_of = dict(zip(space.stages, combination, strict=True))
    for paths, insertion in _sites(model):
        paths.choice = paths.names.index(gate_of[insertion.site.stage])


def _sites(model: nn.Module) -> Iterator[tuple[Paths, Insertion]]:
    for _, gate, insertion in inserted(model):
        if isinstance(gate, Paths):
            yield gate, insertion


NORMS = nn.modules.batchnorm._BatchNorm


@contextmanager
def fresh_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch norms that are in training mode average all that runs within the block.

    Those of a network with sampled paths are of no single path: arXiv 1904.00420, section 3.
    """
    norms = [part for part in model.modules() if isinstance(part, NORMS) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def recalibrate(task: Any, batches: Iterable[Any]) -> None:
    """Take the statistics of the path that a task's network is on, from training batches."""
    task.train()
    with fresh_statistics(task.model), torch.no_grad():
        for index, batch in enumerate(batches):
            task.training_step(batch, index)
    task.eval()
