"""Lets benchmarks import the package and the examples from this checkout, installed or not."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT / "src"), str(ROOT / "examples")]
