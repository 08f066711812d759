"""`nic`: everything that is not training or evaluation. Its commands are in the folder commands."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from cyclopts import CycloptsError

from nic_lightning.commands.app import call
from nic_lightning.commands.refusals import refusal
from nic_lightning.errors import readers_may_leave
from nic_lightning.late import load_late
from nic_lightning.mistakes import mistake
from nic_lightning.runs.machine.threads import spin_briefly


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all went well, 1 for problems found, 2 for wrong input, 130 when interrupted."""
    with readers_may_leave():
        return _main(sys.argv[1:] if arguments is None else list(arguments))


def _main(arguments: Sequence[str]) -> int:
    load_late()
    spin_briefly()
    warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)  # CompressAI's, when imported
    try:
        return call(arguments)
    except CycloptsError as error:
        print(refusal(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a constructor's UserError is wrapped by Hydra
        sentence = mistake(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
