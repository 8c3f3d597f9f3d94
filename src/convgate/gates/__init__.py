"""Gates: one paper, one file, one class."""

from convgate.gates.bam import BAM
from convgate.gates.base import GATES, Gate, create_gate, list_gates
from convgate.gates.ca import CA
from convgate.gates.cbam import CBAM
from convgate.gates.ean import EAN, EANCode
from convgate.gates.eca import ECA
from convgate.gates.ela import ELA
from convgate.gates.fca import FCA
from convgate.gates.gct import GCT
from convgate.gates.grn import GRN
from convgate.gates.pdfam import PdfAM
from convgate.gates.pdfam_gmm import PdfAMGMM
from convgate.gates.pooled import MeanGate, PooledGate
from convgate.gates.sa import SA
from convgate.gates.se import SE
from convgate.gates.seln import SELN
from convgate.gates.sge import SGE
from convgate.gates.simam import SimAM
from convgate.gates.srm import SRM

__all__ = [
    "BAM", "CA", "CBAM", "EAN", "ECA", "ELA", "FCA", "GATES", "GCT", "GRN", "SA", "SE", "SELN",
    "SGE", "SRM", "EANCode", "Gate", "MeanGate", "PdfAM", "PdfAMGMM", "PooledGate", "SimAM",
    "create_gate", "list_gates",
]  # fmt: skip
