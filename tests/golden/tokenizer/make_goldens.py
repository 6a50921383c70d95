"""Makes the tokenizers in this folder and what they make of hard texts.

    python tests/golden/tokenizer/make_goldens.py      (from the repository's root)

with tokenizers 0.22.2, torchtitan 0.2.2, torch 2.11.0, Python 3.11. Output is the same each time.

Each folder has a tokenizer.json, a tokenizer_config.json and cases.jsonl, one case a line:
  {"text", "ids", "special_ids", "document_ids", "decoded", "plain"}: ids without and with add_special_tokens; as
  TorchTitan's HuggingFaceTokenizer with add_bos and add_eos; the ids back to text; the special ids back to text
  with skip_special_tokens.
  {"random_ids", "decoded"}: ids drawn at random, back to text.
splits.json has a small tokenizer and what other pre-tokenizers in its place make of texts.
"""

import copy
import json
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torchtitan.components.tokenizer import HuggingFaceTokenizer

HERE = Path(__file__).parent
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_PATTERN = LLAMA3_PATTERN.replace("{1,3}", "")

SCRIPTS = [
    "The quick brown fox jumps over the lazy dog.", "Zażółć gęślą jaźń", "Ça va? Où est l'élève naïf?",
    "Съешь же ещё этих мягких французских булок", "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία", "שלום עולם", "مرحبا بالعالم",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "こんにちは世界。カタカナ", "你好，世界！", "안녕하세요 세계", "გამარჯობა", "ሰላም ዓለም",
    "ျမန္မာ", "𝕳𝖊𝖑𝖑𝖔", "𐍈𐌰𐌹", "İstanbul ıI", "ﬁﬂ ﬀ", "Ǆ ǅ ǆ", "Ⅷ ½ ² ③ ٣٤٥ १२३",
]
HARD = SCRIPTS + [
    "", " ", "  ", "   x", "x   ", "\n", "\r\n", "a\r\nb\r\n\r\nc", "\n\n\n a", " \n \n", "\t\tindent\n    spaces\n", " " * 97 + "end",
    "\u00a0\u2003\u3000 \u200b\u180e\ufeff x", "\x85 \u2028 \u2029 line", "\x00", "a\x00b\x00\x00", "\x01\x1f\x7f\x80\x9f",
    "0", "1234567890", "3.14159e-10", "1,000,000.00", "v1.2.3rc4", "2026-01-01T00:00:00Z", "x" * 200, "ab" * 100, "é" * 60,
    "I'm you're he'll we've it's don't I'd", "I'M YOU'RE HE'LL WE'VE IT'S DON'T I'D", "'tis 'twas rock'n'roll ''s 'S", "’s it’s",
    "'ſ \u017f \u212a", "a'b'c'd'", "don''t", "!!!???...---===", "C++ == C# <html>&amp;</html>", "def f(x): return x**2  # why\n",
    "https://example.com/a?b=c&d=%20#e", "a_b-c.d@e", "\\n \\t \\\\", "\"quoted\" “curly” «guillemets»",
    "👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️", "e\u0301 \u00e9 a\u0308\u0323 q\u0323\u0307 \u1e9b\u0323", "\u1100\u1161\u11a8 \uac01", "\u0344 \u0958 \u2126 \u212b",
    "Å A\u030a \u0301alone", "\U0001f600\u0301", "\U0010ffff\ue000", "<|endoftext|>", "a<|endoftext|>b", "<|begin_of_text|>x<|end_of_text|>",
    "<|begin_of_text|><|begin_of_text|>", " <|endoftext|> ", "<|im_start|>user\nhi<|im_end|>\n", "<|endoftext|", "<|endoftext<|endoftext|>",
    "<special> <specialized> <spec", "  <left>  <right>  <both>  x", "<right> <left>", "word word wordy sword word", "_word_ word\u200d é-word",
    "cafe\u0301 caf\u00e9 <caf\u00e9> <cafe\u0301>", "[UNK] \u2603 snow\u2603\u2603man",
]


def random_texts(rng, count):
    alphabet = (
        " \n\t'\r.,0129azAZ<|>_-\u00e9\u0301\u0308\u017f\u212a\u00a0\u180e\u200d\u2028\u3000\u4e2d\u3042\uac00\u1100\u1161"
        "\u0627\u0940\u0e01\u00b2\u2167\u24d0\u0345\u203f\ufe0f\U0001f600\U0001f468\U00010348\U000e0061"
    )
    for _ in range(count):
        yield "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 30)))


def training_texts():
    lines = Path("assets/corpus/train.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines[:60]] + SCRIPTS * 3


def train(tokenizer, specials, vocab_size=600):
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options})


def gpt2(add_prefix_space):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=add_prefix_space, use_regex=True)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, ["<|endoftext|>"])
    tree = json.loads(tokenizer.to_str())
    tree["model"]["merges"] = [" ".join(merge) for merge in tree["model"]["merges"]]  # as files of before 2024 have them
    tree["model"]["continuing_subword_prefix"] = tree["model"]["end_of_word_suffix"] = ""
    return tree, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "add_prefix_space": add_prefix_space}


def llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"), byte_level()])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, [])
    tree = json.loads(tokenizer.to_str())
    vocab = tree["model"]["vocab"]
    for word in ["\u0120jumps", "Istanbul", "\u0120quick"]:  # no merges lead to them: ignore_merges alone finds them
        vocab[word] = len(vocab)
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>"]
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", begin)],
            ),
        ]
    )
    decoder = {
        str(tokenizer.token_to_id(s)): {"content": s, "lstrip": False, "normalized": False, "rstrip": False,
                                        "single_word": False, "special": True}
        for s in specials
    }
    config = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "added_tokens_decoder": decoder}
    return json.loads(tokenizer.to_str()), config


def qwen2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"), byte_level()])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    config = {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": {"content": "<|endoftext|>"}, "add_bos_token": False}
    return json.loads(tokenizer.to_str()), config


def added():
    """Added tokens of every kind, NFC twice, bytes without a token, tokens that only tokenizer_config.json names."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.NFC()])
    tokenizer.pre_tokenizer = byte_level(use_regex=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    train(tokenizer, [], 400)
    tree = json.loads(tokenizer.to_str())
    model = tree["model"]
    used = {part for merge in model["merges"] for part in merge}
    kept = [t for t in model["vocab"] if t in used or t.isascii() or len(t) > 1]  # most bytes of other scripts go
    model["vocab"] = {t: i for i, t in enumerate(["[UNK]"] + kept)}
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False), AddedToken("[UNK]", special=True)])
    tokenizer.add_tokens(
        [
            AddedToken("<special>", normalized=False), AddedToken("<special", normalized=False),
            AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True),
            AddedToken("<both>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("word", single_word=True), AddedToken("<cafe\u0301>", normalized=True), AddedToken("e\u0301\u0301", normalized=False),
            AddedToken(" the", normalized=True), AddedToken("\u2603\u2603", single_word=True, normalized=False),
        ]
    )
    config = {
        "bos_token": "<|begin_of_text|>",
        "eos_token": {"content": "<|end_of_text|>", "lstrip": True, "normalized": True},
        "added_tokens_decoder": {"9000": {"content": "<|im_start|>", "normalized": False, "special": True}},
    }
    return json.loads(tokenizer.to_str()), config


def cases_of(folder, rng):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    documents = HuggingFaceTokenizer(str(folder))
    for text in HARD + list(random_texts(rng, 60)):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        special_ids = tokenizer.encode(text).ids
        yield {
            "text": text,
            "ids": ids,
            "special_ids": special_ids,
            "document_ids": documents.encode(text, add_bos=True, add_eos=True),
            "decoded": tokenizer.decode(ids, skip_special_tokens=False),
            "plain": tokenizer.decode(special_ids, skip_special_tokens=True),
        }
    for _ in range(40):
        ids = [rng.randrange(tokenizer.get_vocab_size() + 20) for _ in range(rng.randint(1, 12))]
        yield {"random_ids": ids, "decoded": documents.decode(ids, skip_special_tokens=False)}


def write(folder, tree, config, rng):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tree, ensure_ascii=False, separators=(",", ":")) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    with open(folder / "cases.jsonl", "w") as file:
        for case in cases_of(folder, rng):
            file.write(json.dumps(case, separators=(",", ":")) + "\n")


def split_variants():
    patterns = [{"Regex": r"\p{N}+|[.!]"}, {"String": "a"}, {"Regex": r"\s*"}, {"Regex": r"(?<=a)b|^c|d$|\bw"}]
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            for pattern in patterns:
                split = {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
                yield [split, {"type": "ByteLevel", "add_prefix_space": invert, "trim_offsets": True, "use_regex": False}]
    words = {"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Contiguous", "invert": False}
    three = {"type": "Split", "pattern": {"Regex": r"\p{L}{2,3}+|\h"}, "behavior": "MergedWithNext", "invert": False}
    yield [words, three, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}]


def write_splits(rng):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level()  # no words: merges reach over spaces, so every border shows
    texts = ["12ab!!..", "a1 b22  c333.d", "aa aaa aaaa", "", "!", "   ", "ab cab\ncd\nd", "a.b.c1.1", "n0 w wéw _w"]
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator((texts + ["1 2 3", "a b c", "..!!", "bab c", "d c", "22 22"]) * 3, trainer)
    base = json.loads(tokenizer.to_str())
    texts += ["".join(rng.choice("ab1. !\nwcd_\u00e9") for _ in range(rng.randint(2, 24))) for _ in range(16)]
    variants = []
    for parts in split_variants():
        tree = copy.deepcopy(base)
        tree["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
        variant = Tokenizer.from_str(json.dumps(tree))
        variants.append({"pre_tokenizer": tree["pre_tokenizer"], "ids": [variant.encode(text).ids for text in texts]})
    golden = {"tokenizer": base, "texts": texts, "variants": variants}
    (HERE / "splits.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


def main():
    rng = random.Random(17)
    write(HERE / "gpt2", *gpt2(add_prefix_space=False), rng)
    write(HERE / "gpt2_prefix", *gpt2(add_prefix_space=True), rng)
    write(HERE / "llama3", *llama3(), rng)
    write(HERE / "qwen2", *qwen2(), rng)
    write(HERE / "added", *added(), rng)
    write_splits(rng)


main()
