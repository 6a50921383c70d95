"""Checkpoints go to torch.distributed.checkpoint and to TorchTitan, and come from there.

With TORCHTITAN_PYTHON, TORCHTITAN_RUN and TORCHTITAN_TOKENIZER in the environment (a Python with torch 2.11 and
torchtitan 0.2.2, a script that trains as torchtitan.train does and knows a flavour tiny4 of the sizes below, a
tokenizer of 2048 ids), TorchTitan itself goes on from a checkpoint of ours, and this program from one of its; without
them these tests are skipped.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

TITAN = os.environ["TITAN_BINARY"]
CORPUS = "tests/golden/llama3_tiny/corpus"
SIZES = ["--model.flavor=debugmodel", "--model.args.dim=24", "--model.args.n_layers=2", "--model.args.n_heads=4",
         "--model.args.n_kv_heads=2", "--model.args.vocab_size=320", "--model.args.multiple_of=8"]  # fmt: skip
# Tied, so the embedding is the output layer's too.
QWEN3_SIZES = ["--model.name=qwen3", "--model.flavor=debugmodel", "--model.args.dim=20", "--model.args.n_layers=2",
               "--model.args.n_heads=6", "--model.args.n_kv_heads=2", "--model.args.head_dim=8",
               "--model.args.hidden_dim=44", "--model.args.vocab_size=320"]  # fmt: skip
JOB = ["--model.hf_assets_path=tests/golden/llama3_tiny/tokenizer", "--training.dataset=c4_test",
       f"--training.dataset_path={CORPUS}", "--training.seq_len=48", "--training.global_batch_size=4",
       "--training.local_batch_size=1", "--training.steps=4", "--training.mixed_precision_param=float32",
       "--lr_scheduler.warmup_steps=2", "--activation_checkpoint.mode=none", "--metrics.log_freq=1",
       "--checkpoint.enable", "--checkpoint.no-last_save_model_only", "--checkpoint.interval=2"]  # fmt: skip


def launch(folder, num_ranks, *flags, sizes=SIZES):
    command = [TITAN, "launch", f"--nproc-per-node={num_ranks}", "--", "train", f"--job.dump_folder={folder}", *JOB,
               *sizes, *flags]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=300,
                         env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    if run.returncode != 0:
        raise AssertionError(run.stdout + run.stderr)
    return run.stdout


def losses(folder):
    steps = {}
    for line in pathlib.Path(folder, "metrics/metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        if "grad_norm" in metrics:
            steps[metrics["step"]] = (metrics["loss_metrics/global_avg_loss"], metrics["grad_norm"])
    return steps


def as_torch(checkpoint):
    """The whole state as torch's own DCP reads it."""
    with tempfile.NamedTemporaryFile() as file:
        dcp_to_torch_save(str(checkpoint), file.name)
        return torch.load(file.name, weights_only=False)


def save_on_two_ranks(rank, folder, state):
    """torch's DCP writes `state` as two ranks hold it: every tensor sharded by rows, the optimizer's steps whole."""
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getppid() % 2000)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))

    def place(value):
        if isinstance(value, dict):
            return {key: place(item) for key, item in value.items()}
        shards = isinstance(value, torch.Tensor) and value.dim() > 0
        return distribute_tensor(value, mesh, [Shard(0)]) if shards else value

    dcp.save(place(state), checkpoint_id=folder)
    dist.destroy_process_group()


class CheckpointTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def expect_equal(self, a, b, path=""):
        self.assertEqual(type(a), type(b), path)
        if isinstance(a, dict):
            self.assertEqual(set(a), set(b), path)
            for key in a:
                self.expect_equal(a[key], b[key], f"{path}/{key}")
        elif isinstance(a, torch.Tensor):
            self.assertTrue(torch.equal(a, b), path)
        else:
            self.assertEqual(a, b, path)


class Dcp(CheckpointTest):
    def test_torch_reads_the_same_state_whatever_the_layout(self):
        states = []
        for num_ranks, flags in [(1, []), (3, ["--parallelism.data_parallel_shard_degree=3", "--training.global_batch_size=3"]),
                                 (4, ["--parallelism.data_parallel_shard_degree=2", "--parallelism.tensor_parallel_degree=2"])]:  # fmt: skip
            folder = self.folder / f"ranks{num_ranks}"
            launch(folder, num_ranks, "--training.steps=1", "--optimizer.lr=0", "--lr_scheduler.warmup_steps=0", *flags)
            states.append(as_torch(folder / "checkpoint/step-1"))
        for state in states[1:]:
            self.assertEqual(set(state), set(states[0]))
            for name in state:
                if isinstance(state[name], torch.Tensor):  # with a rate of 0 the weights are the seed's
                    self.assertTrue(torch.equal(state[name], states[0][name]), name)
            self.assertEqual(set(state["optimizer"]), set(states[0]["optimizer"]))
        options = {key.rsplit(".", 1)[1] for key in states[0]["optimizer"] if key.startswith("param_groups.")}
        adam = torch.optim.AdamW([torch.zeros(1)], fused=True)
        torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1.0)  # adds initial_lr
        self.assertEqual(options, set(adam.state_dict()["param_groups"][0]) - {"params"})
        scheduler = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1.0).state_dict()
        self.assertEqual(set(states[0]["lr_scheduler"]), set(scheduler) - {"lr_lambdas"})

    def test_a_run_goes_on_from_what_torch_wrote(self):
        whole, parts = self.folder / "whole", self.folder / "parts"
        launch(whole, 2, "--parallelism.data_parallel_shard_degree=2")
        state = as_torch(whole / "checkpoint/step-2")
        step_2 = parts / "checkpoint/step-2"
        torch.multiprocessing.spawn(save_on_two_ranks, args=(str(step_2), state), nprocs=2)
        self.assertFalse((step_2 / "manifest.json").exists())
        launch(parts, 2, "--parallelism.data_parallel_shard_degree=2")
        self.assertEqual(losses(parts), {step: losses(whole)[step] for step in (3, 4)})
        self.expect_equal(as_torch(parts / "checkpoint/step-4"), as_torch(whole / "checkpoint/step-4"))

    def expect_converts(self, sizes, model_name):
        launch(self.folder / "run", 2, "--parallelism.data_parallel_shard_degree=2", "--training.steps=2", sizes=sizes)
        ours, hf, back = self.folder / "run/checkpoint/step-2", self.folder / "hf", self.folder / "back"
        for source, target in [(ours, hf), (hf, back)]:
            subprocess.run([TITAN, "convert", source, target, *sizes], check=True, capture_output=True, timeout=120)
        import transformers

        model = getattr(transformers, model_name).from_pretrained(hf)
        expected, got = as_torch(ours), as_torch(back)
        self.assertTrue(torch.equal(model.model.embed_tokens.weight, expected["tok_embeddings.weight"]))
        last = model.model.layers[1].self_attn.o_proj.weight
        self.assertTrue(torch.equal(last, expected["layers.1.attention.wo.weight"]))
        for name in got:
            self.assertTrue(torch.equal(got[name], expected[name]), name)
        self.assertEqual(set(got), {name for name in expected if isinstance(expected[name], torch.Tensor)})

    def test_convert_goes_to_hugging_face_and_back(self):
        self.expect_converts(SIZES, "LlamaForCausalLM")

    def test_convert_takes_a_qwen3_there_and_back(self):
        self.expect_converts(QWEN3_SIZES, "Qwen3ForCausalLM")


TORCHTITAN = os.environ.get("TORCHTITAN_PYTHON"), os.environ.get("TORCHTITAN_RUN")
TOKENIZER = os.environ.get("TORCHTITAN_TOKENIZER", "")


@unittest.skipUnless(all(TORCHTITAN), "TORCHTITAN_PYTHON and TORCHTITAN_RUN are not set")
class TorchTitan(CheckpointTest):
    # The script calls the same sizes tiny4.
    SIZES = ["--model.args.dim=64", "--model.args.n_layers=4", "--model.args.n_heads=4", "--model.args.n_kv_heads=4",
             "--model.args.vocab_size=2048", "--model.args.multiple_of=64", "--model.args.rope_theta=500000"]  # fmt: skip

    def torchtitan(self, folder, *flags):
        python, script = TORCHTITAN
        command = [python, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", script,
                   "--model.name=llama3", "--model.flavor=tiny4", f"--job.dump_folder={folder}", *JOB, "--debug.seed=42",
                   f"--model.hf_assets_path={TOKENIZER}", *flags]  # fmt: skip
        run = subprocess.run(command, capture_output=True, text=True, timeout=300,
                             env=os.environ | {"OMP_NUM_THREADS": "1", "HF_DATASETS_OFFLINE": "1"})  # fmt: skip
        self.assertEqual(run.returncode, 0, run.stdout[-3000:] + run.stderr[-3000:])
        return run.stdout + run.stderr

    def ours(self, folder, num_ranks, *flags):
        return launch(folder, num_ranks, *self.SIZES, f"--model.hf_assets_path={TOKENIZER}", *flags)

    def test_each_goes_on_from_the_other(self):
        theirs, ours = self.folder / "theirs", self.folder / "ours"
        self.torchtitan(theirs, "--training.steps=2")
        (ours / "checkpoint").mkdir(parents=True)
        (theirs / "checkpoint/step-2").rename(ours / "checkpoint/step-2")
        before = as_torch(ours / "checkpoint/step-2")

        # From theirs: everything is as it was, and the place in the data follows from the step.
        out = self.ours(ours, 2, "--parallelism.tensor_parallel_degree=2", "--training.steps=4")
        self.assertIn("Training starts at step 3", out)
        self.assertIn("data go on at sample 8 (step 2 x 4 samples)", out)
        after = as_torch(ours / "checkpoint/step-4")
        names = {name for name in before["optimizer"]}
        self.assertEqual(set(after["optimizer"]), names)
        self.assertEqual(set(after["lr_scheduler"]), set(before["lr_scheduler"]))

        # And back: they load ours and train on.
        (theirs / "checkpoint").mkdir(parents=True, exist_ok=True)
        (ours / "checkpoint/step-4").rename(theirs / "checkpoint/step-4")
        out = self.torchtitan(theirs, "--training.steps=6", "--checkpoint.exclude_from_loading=dataloader")
        self.assertIn("Training starts at step 5", out)
        state = as_torch(theirs / "checkpoint/step-6")
        self.assertEqual(state["train_state"]["step"], 6)
        self.assertEqual(state["optimizer"]["state.output.weight.step"].item(), 6)


if __name__ == "__main__":
    unittest.main()
