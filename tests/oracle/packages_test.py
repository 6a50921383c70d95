"""The oracle itself: what the other scripts compare with is what scripts/wheels/ pins, and it works."""

import importlib.metadata
import pathlib
import shutil
import unittest

WHEELS = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "wheels"


class Packages(unittest.TestCase):
    def test_installed_versions_are_the_pinned_ones(self):
        for requirements in sorted(WHEELS.glob("*.txt")):
            if requirements.stem == "nvcc" and shutil.which("nvcc"):
                continue  # scripts/setup.sh takes the system's
            for line in requirements.read_text().splitlines():
                if line and not line.startswith("#"):
                    name, version = line.split()[0].split("==")
                    with self.subTest(name):
                        self.assertEqual(importlib.metadata.version(name), version)

    def test_torch_computes_from_the_unpacked_wheel(self):
        import torch

        self.assertEqual(torch.ones(3, 5).sum().item(), 15.0)

    def test_the_other_packages_import(self):
        import safetensors.torch  # noqa: F401
        import tensorboard.backend.event_processing.event_accumulator  # noqa: F401
        import tokenizers  # noqa: F401
        import transformers

        # Each name of transformers is imported at its first use.
        self.assertEqual(transformers.LlamaForCausalLM.__name__, "LlamaForCausalLM")


if __name__ == "__main__":
    unittest.main()
