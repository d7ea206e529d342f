"""Lets TorchIO be imported where SimpleITK is not installed; to be imported before anything that imports TorchIO.

A training needs SimpleITK for simulated motion alone, which is then left out.
"""

from __future__ import annotations

import importlib.util
import sys
from unittest.mock import MagicMock

WITHOUT_SIMPLEITK = importlib.util.find_spec("SimpleITK") is None
if WITHOUT_SIMPLEITK:
    sys.modules["SimpleITK"] = MagicMock()
