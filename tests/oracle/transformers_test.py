"""Weights go to Hugging Face's `transformers` and back without a change of the model: the logits stay the same.

    transformers_test.py PROGRAM    PROGRAM: oracle_logits (logits.cpp)
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

PROGRAM = sys.argv.pop(1)
SEQ_LEN = 48
VOCAB_SIZE = 2048  # the shipped tokenizer's
# Heads that share keys, sizes that are no power of two, and the one thing on disk that differs: tied weights.
SIZES = ["--model.args.dim=96", "--model.args.n_layers=3", "--model.args.n_heads=6", "--model.args.n_kv_heads=2",
         f"--model.args.vocab_size={VOCAB_SIZE}", f"--training.seq_len={SEQ_LEN}"]  # fmt: skip
TIED = "--model.args.enable_weight_tying"
UNTIED = "--model.args.no-enable_weight_tying"
# The debug flavour's weights are tied; heads are together wider than the model.
QWEN3_SIZES = ["--model.name=qwen3", "--model.args.dim=40", "--model.args.n_layers=3", "--model.args.n_heads=6",
               "--model.args.n_kv_heads=2", "--model.args.head_dim=16", "--model.args.hidden_dim=92",
               f"--model.args.vocab_size={VOCAB_SIZE}", f"--training.seq_len={SEQ_LEN}"]  # fmt: skip


def titan_train(folder, *arguments):
    command = [os.environ["TITAN_BINARY"], "train", "--job.config_file", "configs/llama3/debug.toml", "--job.dump_folder",
               str(folder), "--training.local_batch_size=2", *arguments]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        raise AssertionError(run.stderr)


def titan_logits(checkpoint, tokens, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        given, made = f"{folder}/tokens.safetensors", f"{folder}/logits.safetensors"
        save_file({"tokens": tokens}, given)
        command = [PROGRAM, given, made, "--job.config_file", "configs/llama3/debug.toml", "--job.dump_folder", folder,
                   "--checkpoint.enable", "--checkpoint.initial_load_in_hf", "--checkpoint.initial_load_path",
                   str(checkpoint), *arguments]  # fmt: skip
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if run.returncode != 0:
            raise AssertionError(run.stderr)
        return load_file(made)["logits"]


class Transformers(unittest.TestCase):
    def setUp(self):
        self.tokens = torch.randint(VOCAB_SIZE, (2, SEQ_LEN), generator=torch.Generator().manual_seed(1))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def expect_same_logits(self, model, checkpoint, *arguments):
        with torch.no_grad():
            theirs = model.eval()(self.tokens).logits
        ours = titan_logits(checkpoint, self.tokens, *arguments)
        self.assertGreater(theirs.std().item(), 0.01)  # logits that are all alike would prove nothing
        self.assertLess((ours - theirs).abs().max().item(), 1e-4)

    def export_and_compare(self, *arguments):
        titan_train(self.folder, "--training.steps=3", "--optimizer.lr=0.02", "--checkpoint.enable",
                    "--checkpoint.last_save_model_only", "--checkpoint.last_save_in_hf", *arguments)  # fmt: skip
        checkpoint = self.folder / "checkpoint" / "step-3"
        model, loading = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, output_loading_info=True)
        self.assertEqual([loading["missing_keys"], loading["unexpected_keys"]], [[], []])
        self.expect_same_logits(model, checkpoint, *arguments)

    def test_an_exported_checkpoint_has_our_logits(self):
        self.export_and_compare(*SIZES)

    def test_an_exported_checkpoint_with_tied_weights_has_our_logits(self):
        self.export_and_compare(*SIZES, TIED)

    def test_an_exported_qwen3_has_our_logits(self):
        self.export_and_compare(*QWEN3_SIZES)

    def test_an_exported_qwen3_with_untied_weights_has_our_logits(self):
        self.export_and_compare(*QWEN3_SIZES, UNTIED)

    def test_a_qwen3_of_theirs_has_their_logits(self):
        for tied in (True, False):
            with self.subTest(tied=tied):
                torch.manual_seed(0)
                model = Qwen3ForCausalLM(Qwen3Config(
                    vocab_size=VOCAB_SIZE, hidden_size=40, num_hidden_layers=3, num_attention_heads=6,
                    num_key_value_heads=2, head_dim=16, intermediate_size=92, rms_norm_eps=1e-6, rope_theta=1000000.0,
                    initializer_range=0.05, tie_word_embeddings=tied))  # fmt: skip
                for name, parameter in model.named_parameters():
                    if "norm" in name:
                        torch.nn.init.uniform_(parameter, 0.5, 1.5)
                folder = self.folder / f"theirs_{tied}"
                model.save_pretrained(folder)
                self.expect_same_logits(model, folder, *QWEN3_SIZES, TIED if tied else UNTIED)

    def test_a_checkpoint_of_theirs_has_their_logits(self):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=VOCAB_SIZE, hidden_size=96, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
            intermediate_size=256, max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=500000.0,
            initializer_range=0.05, tie_word_embeddings=False,
            rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                              original_max_position_embeddings=8192)))  # fmt: skip
        model.save_pretrained(self.folder / "theirs")
        self.expect_same_logits(model, self.folder / "theirs", *SIZES, "--model.args.multiple_of=256")


if __name__ == "__main__":
    unittest.main()
