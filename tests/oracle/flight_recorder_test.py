"""PyTorch's own tool reads the dumps of our flight recorder and comes to the verdicts that `titan trace` comes to."""

import contextlib
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import unittest

from torch.distributed.flight_recorder import fr_trace

TITAN = os.environ["TITAN_BINARY"]
TRAIN_WITH_FAULT = sys.argv.pop()


def run_job(folder, num_ranks, flags=(), fault=None):
    """A job that ends by itself, or by the fault; its ranks wait 2 s for each other."""
    with_fault = [
        TITAN if fault is None else TRAIN_WITH_FAULT, "train", "--job.config_file", "configs/llama3/debug.toml",
        "--job.dump_folder", folder, "--training.seq_len=32", "--training.local_batch_size=2",
        "--comm.train_timeout_seconds=2", "--training.steps=100000" if fault else "--training.steps=4", *flags,
    ]  # fmt: skip
    variables = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(num_ranks), "MASTER_ADDR": "127.0.0.1",
                              "MASTER_PORT": free_port(), "LOCAL_WORLD_SIZE": str(num_ranks)}  # fmt: skip
    if fault is not None:
        variables |= {"TITAN_TEST_FAULT": fault, "TITAN_TEST_FAULT_REPORT": os.path.join(folder, "fault.json")}
    ranks = [subprocess.Popen(with_fault, env=variables | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
             for rank in range(num_ranks)]  # fmt: skip
    return ranks


def free_port():
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def read_by_pytorch(folder):
    """What the tool logs, and the collectives that it pairs."""
    log, result = io.StringIO(), os.path.join(folder, "result.pickle")
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("FlightRecorder")
    for known in [logger, logging.getLogger()]:
        known.addHandler(handler)
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            fr_trace.main([os.path.join(folder, "comm_traces"), "--prefix", "rank_", "-o", result])
    finally:
        for known in [logger, logging.getLogger()]:
            known.removeHandler(handler)
    with open(result, "rb") as file:
        _, database = pickle.load(file)
    return log.getvalue(), database


def read_by_titan(folder):
    return json.loads(subprocess.run([TITAN, "trace", os.path.join(folder, "comm_traces"), "--json"],
                                     capture_output=True, text=True, check=True).stdout)  # fmt: skip


class FlightRecorder(unittest.TestCase):
    def faulty(self, num_ranks, fault, flags=()):
        with tempfile.TemporaryDirectory() as folder:
            ranks = run_job(folder, num_ranks, flags, fault)
            bad = int(fault.split()[1])
            for i, rank in enumerate(ranks):
                if i != bad:
                    rank.communicate(timeout=120)
            ranks[bad].kill()
            ranks[bad].communicate()
            log, database = read_by_pytorch(folder)
            with open(os.path.join(folder, "fault.json")) as file:
                return log, database, read_by_titan(folder), json.load(file)[0]

    def test_both_find_the_rank_that_never_came(self):
        log, database, ours, planted = self.faulty(3, "hang 1 70")
        self.assertIn(f"Not all ranks joining collective, sequence number: {planted['sequence']}", log)
        self.assertIn("missing ranks: {1}", log)
        self.assertEqual(ours["verdicts"][0]["ranks"], [1])
        self.assertEqual(ours["verdicts"][0]["sequence"], planted["sequence"])
        before = [entry for entry in database.collectives if entry.pass_check and not entry.missing_ranks]
        self.assertGreaterEqual(len(before), planted["sequence"])
        self.assertIn("dp_shard on shm", before[0].pg_desc)

    def test_both_find_the_rank_that_came_with_another_shape(self):
        log, _, ours, planted = self.faulty(3, "shape 2 61")
        self.assertIn(f"Collective sequence number: {planted['sequence']} has errors", log)
        # Whom it calls the culprit depends on whose dump it happens to read first.
        self.assertIn("SIZE_OR_SYNTAX_MISMATCH", log)
        self.assertEqual(ours["verdicts"][0]["ranks"], [2])
        self.assertEqual(ours["verdicts"][0]["sequence"], planted["sequence"])

    # Messages: of a pipeline of two stages, both directions.
    def test_both_read_the_messages_of_a_pipeline(self):
        flags = ["--parallelism.pipeline_parallel_degree=2", "--parallelism.pipeline_parallel_schedule=1F1B"]
        log, database, ours, planted = self.faulty(2, "hang 0 60", flags)
        names = {call.collective_type.split()[0] for call in database.ncclcalls}
        self.assertLessEqual({"nccl:send", "nccl:recv"}, names)
        self.assertEqual(ours["verdicts"][0]["ranks"], [0])
        self.assertEqual(ours["verdicts"][0]["sequence"], planted["sequence"])


if __name__ == "__main__":
    unittest.main()
