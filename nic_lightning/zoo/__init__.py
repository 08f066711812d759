"""Trained models that come with the package, each an export folder with a card that says what it is.

    models/NAME/codec.json         what `nic export NAME --float16` wrote
    models/NAME/codec.safetensors
    models/NAME/card.json          `card.py`
    zoo.json                       the default of each medium that has several models

A model's name stands wherever a run folder, a checkpoint or an export does. Nothing here needs torch.
"""

from nic_lightning.zoo.card import Card as Card
from nic_lightning.zoo.card import Measured as Measured
from nic_lightning.zoo.card import Training as Training
from nic_lightning.zoo.shelf import Model as Model
from nic_lightning.zoo.shelf import default_model as default_model
from nic_lightning.zoo.shelf import find_model as find_model
from nic_lightning.zoo.shelf import models as models
from nic_lightning.zoo.shelf import no_source as no_source
from nic_lightning.zoo.shelf import source_of as source_of
