"""The program trains under torchrun as it does under titan launch: the same variables, the same losses."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

TITAN = os.environ["TITAN_BINARY"]
STEP_LINE = re.compile(r"^\[rank0\]:.* step: *(\d+)  loss: *([\d.]+)  grad_norm: *([\d.]+)", re.MULTILINE)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node=2"]


class Torchrun(unittest.TestCase):
    def run_job(self, launcher, flags=(), **environment):
        with tempfile.TemporaryDirectory() as folder:
            command = [*launcher, "train", "--job.config_file", "configs/llama3/debug.toml", "--job.dump_folder", folder,
                       "--training.steps=3", "--training.seq_len=32", "--training.local_batch_size=2",
                       "--metrics.log_freq=1", *flags]  # fmt: skip
            # torchrun gives each rank one thread unless told otherwise.
            variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
            return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)

    def steps(self, run):
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return STEP_LINE.findall(run.stdout)

    def test_two_ranks_train_as_under_titan_launch(self):
        under_torchrun = self.steps(self.run_job([*TORCHRUN, "--standalone", TITAN]))
        under_launch = self.steps(self.run_job([TITAN, "launch", "--nproc-per-node=2", "--"]))
        self.assertEqual([step for step, _, _ in under_torchrun], ["1", "2", "3"])
        self.assertEqual(under_torchrun, under_launch)

    def test_rank_0_serves_the_store_where_torchruns_agent_does_not(self):
        run = self.run_job([*TORCHRUN, "--standalone", TITAN], TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
        self.assertEqual(len(self.steps(run)), 3)

    def test_a_mistake_ends_the_job_with_an_error(self):
        run = self.run_job([*TORCHRUN, "--standalone", TITAN], ["--training.steps=ten"])
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("training.steps: ", run.stderr)


if __name__ == "__main__":
    unittest.main()
