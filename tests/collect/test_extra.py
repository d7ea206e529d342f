"""The room needs what its extra brings, and nothing of the training's."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
import dqe_loss.collect
for module in pkgutil.iter_modules(dqe_loss.collect.__path__, "dqe_loss.collect."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
OF_TRAINING = (
    *("sklearn", "SimpleITK", "torchio", "batchgenerators", "pytorch_optimizer", "tensorboard"),
    "deep_quality_estimation",
)


def test_collecting_and_reporting_need_no_library_of_the_training():
    program = PROGRAM.format(blocked=OF_TRAINING)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
