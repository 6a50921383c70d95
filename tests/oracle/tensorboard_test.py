"""A run's TensorBoard events, as TensorBoard reads them, say what the step lines say."""

import os
import re
import subprocess
import tempfile
import unittest

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEP_LINE = re.compile(r"step: *(\d+)  loss: *([\d.]+)  grad_norm: *([\d.]+)")


class TensorBoard(unittest.TestCase):
    def test_scalars_are_those_of_the_step_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [os.environ["TITAN_BINARY"], "train", "--job.config_file", "configs/llama3/debug.toml",
                       "--job.dump_folder", folder, "--training.steps=3", "--training.seq_len=32",
                       "--training.local_batch_size=2", "--metrics.enable_tensorboard"]  # fmt: skip
            run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            lines = {int(step): (float(loss), float(norm)) for step, loss, norm in STEP_LINE.findall(run.stdout)}
            self.assertEqual(sorted(lines), [1, 2, 3])

            (events,) = [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names if "tfevents" in name]
            reader = EventAccumulator(events)
            reader.Reload()
            # TorchTitan's names, so that its dashboards go on working.
            for tag, column, digits in (("loss_metrics/global_avg_loss", 0, 5), ("grad_norm", 1, 4)):
                scalars = {scalar.step: scalar.value for scalar in reader.Scalars(tag)}
                self.assertEqual(sorted(scalars), sorted(lines))
                for step, value in scalars.items():
                    self.assertAlmostEqual(value, lines[step][column], delta=0.51 * 10**-digits)


if __name__ == "__main__":
    unittest.main()
