"""`titan tokenizer` against Hugging Face's `tokenizers`, id by id: every tokenizer of tests/golden/tokenizer and the
shipped one, on the shipped corpus and on texts drawn at random from hard characters."""

import json
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / "assets" / "tokenizer"] + sorted(
    path.parent for path in (ROOT / "tests" / "golden" / "tokenizer").glob("*/tokenizer.json")
)
# Each of them splits, merges or normalises in a way of its own.
PIECES = (
    " ", "  ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u3000", "\u200d", "a", "The", " the", "'s", "'LL", "don't", "1", "123", "4567",
    "\u0664", "\u2167", "...", "!?", "_", "-", "\u00e9", "e\u0301", "\u0130", "\ufb01", "\u1e9b\u0323", "\uac00", "\u1100\u1161", "\u4e2d\u6587",
    "\u0928\u093f", "\U0001f468\u200d\U0001f469", "\U0001f1e9\U0001f1ea", "\x00", "\ufffd", "<|begin_of_text|>", "<|endoftext|>", "<s>", "</s>",
)


def random_texts(count):
    rng = random.Random(20260101)
    return [""] + ["".join(rng.choices(PIECES, k=rng.randrange(1, 30))) for _ in range(count)]


def titan(arguments, lines):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        command = [os.environ["TITAN_BINARY"], "tokenizer", *arguments, file.name]
        output = subprocess.run(command, check=True, capture_output=True, timeout=300).stdout
    return [json.loads(line) for line in output.decode("utf-8").splitlines()]


class Tokenizer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lines = (ROOT / "assets" / "corpus" / "train.jsonl").read_text(encoding="utf-8").splitlines()
        cls.texts = random_texts(2000) + [json.loads(line)["text"] for line in lines[::4]]

    def compare_ids(self, add_special_tokens):
        lines = [json.dumps({"text": text}) for text in self.texts]
        flags = ["--add-special-tokens"] if add_special_tokens else []
        for folder in FOLDERS:
            oracle = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            ours = titan(["encode", "--hf_assets_path", str(folder), *flags], lines)
            self.assertEqual(len(ours), len(self.texts))
            for text, ids in zip(self.texts, ours):
                with self.subTest(tokenizer=folder.name, text=text[:80]):
                    self.assertEqual(ids, oracle.encode(text, add_special_tokens=add_special_tokens).ids)

    def test_ids_are_the_same(self):
        self.compare_ids(add_special_tokens=False)

    def test_ids_with_special_tokens_are_the_same(self):
        self.compare_ids(add_special_tokens=True)

    def test_decoded_text_is_the_same(self):
        rng = random.Random(1)
        for folder in FOLDERS:
            oracle = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            size = oracle.get_vocab_size()
            # Ids at random, too: bytes that are no UTF-8 on their own.
            sequences = [oracle.encode(text).ids for text in self.texts[:500]]
            sequences += [[rng.randrange(size) for _ in range(rng.randrange(20))] for _ in range(500)]
            ours = titan(["decode", "--hf_assets_path", str(folder)], [json.dumps(ids) for ids in sequences])
            self.assertEqual(len(ours), len(sequences))
            for ids, line in zip(sequences, ours):
                with self.subTest(tokenizer=folder.name, ids=ids[:20]):
                    self.assertEqual(line["text"], oracle.decode(ids, skip_special_tokens=False))


if __name__ == "__main__":
    unittest.main()
