"A PyTorch training loop that you can stop, step, open up and change while it runs"
__version__ = "0.1.0"

from .all import *
from .all import __all__ # not the module `all`, which would hide Python's own
