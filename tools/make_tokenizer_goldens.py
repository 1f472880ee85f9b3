"""Writes tests/text/tokenizers/*.json and tests/text/tokenizer_goldens.json with the `tokenizers` library.

    python tools/make_tokenizer_goldens.py [MODEL.gguf]

Small tokenizers are trained here on generated text; the goldens are what `tokenizers` makes of many texts. With
a GGUF of SmolLM2 its tokenizer is written down from the metadata by hand (not by Lathe) and its ids of the same
texts go to tests/text/smollm2_goldens.json. Needs tokenizers, numpy and gguf.
"""
import json, random, sys, pathlib, unicodedata
from tokenizers import Tokenizer, AddedToken, Regex, models, pre_tokenizers, decoders, normalizers, processors, trainers

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "text"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")

SENTENCES = """The quick brown fox jumps over the lazy dog, and it wasn't the first time that they'd seen it.
We'll go there tomorrow; I've 1234 reasons and 56.78 doubts. Don't you think she's right? HE'S LATE, WE'RE NOT.
def main(argc, argv):\n    for i in range(10):\n\t\treturn {"key": [1, 2, 3], 'x': None}  # a comment
Über den Wolken muß die Freiheit grenzenlos sein. Größe, Äpfel und Öl.
L'été dernier, nous étions à la plage près de l'île; où est le garçon ?
El niño comió una manzana y bebió agua. ¿Cómo estás? ¡Muy bien!
Съешь же ещё этих мягких французских булок да выпей чаю. Привет, мир!
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Καλημέρα κόσμε.
שלום עולם, מה שלומך היום? עִבְרִית עם ניקוד.
مرحبا بالعالم، كيف حالك اليوم؟ السَّلامُ عَلَيْكُم
नमस्ते दुनिया, आप कैसे हैं? हिन्दी में लिखना आसान है।
สวัสดีชาวโลก วันนี้เป็นอย่างไรบ้าง
你好，世界！今天天气怎么样？我们一起去公园吧。
こんにちは世界。今日はとてもいい天気ですね。カタカナとひらがな。
안녕하세요 세계! 오늘 날씨가 어떻습니까?
Xin chào thế giới, hôm nay bạn thế nào? Tiếng Việt có dấu.
გამარჯობა მსოფლიო. Բարեւ աշխարհ. ሰላም ልዑል። ជំរាបសួរ ພາສາລາວ မင်္ဂလာပါ
😀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ ☕ emoji everywhere 🚀🚀🚀""".split("\n")


def corpus():
    rng = random.Random(7)
    for _ in range(300):
        yield " ".join(rng.choice(SENTENCES) for _ in range(3))


def texts():
    """Texts that differ in every way a tokenizer can care about."""
    rng = random.Random(11)
    out = ["", " ", "  ", "\n", "\t", "a", "é", "\u0301", "Hello", " Hello", "Hello world", "Hello  world  ", "   lead", "trail   "]
    out += list(SENTENCES)
    out += ["\n\n\n a\n \n b\r\n\r\nc \t \td", "a\u00a0b\u2003c\u3000d\u1680e\u2028f\u2029g\u202fh\u205fi\u180ej\u200bk\ufeffl",
            "x\u0085y\x0bz\x0c", "\x00\x01\x02\x1f\x7f\x80\x9f", "0 1 12 123 1234 12345 123456789 ٠١٢٣ ⅷ ½ ² ① 一二三",
            "1,234.56 -7e10 0x1F 3rd 2nd", "it's IT'S it’s ſ'ſ 'S 'LL 'Ve '' ''' 's's's", "e\u0301 é ﬁ Å Å ｆｕｌｌ Ⅳ ㎏ \u1e9b\u0323 가 각",
            "İstanbul ǅ ẞ ΑΣ Σ ς", "a\u200db\u200cc \u2060", "👩‍👩‍👧‍👦👍🏽🏳️‍🌈🇩🇪🇫🇷", "\U0010ffff \ue000 \U000e0041 \ufffd",
            "<s>", "</s>", "a<s>b</s>c", " <s> </s> ", "<|endoftext|>", "x<|endoftext|>y <|endoftext|> z\n<|endoftext|>",
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|begin_of_text|>q<|eot_id|>", "<|im_start", "|>", "<unk>",
            "<0x41><0x0A>", "MASK [MASK] [MASK][MASK]  [MASK]  x[MASK]y", "word wordy aword word, word_ wörd word", "NORM norm Norm",
            "  tab\there  \n  tail  ", "https://example.com/a?b=c&d=%20#frag user@example.org", "¡¿«»“”‘’…—–", "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋", "$100 €50 ₹7 ₿",
            "a" * 1000, "ab" * 300, " " * 257, "\n" * 70, "!" * 100, "é" * 77, "😀" * 40, "1" * 99, "a " * 100, "\u0301" * 30, "the" * 60, "漢" * 50,
            "CamelCaseWordsAndHTTPServer snake_case_words kebab-case", "▁▁ ▁a ▁", "Ġ Ċ Ã©", "\ud7ff\ue000", "ꙮ 𝒜𝓁𝓅𝒽𝒶 𓀀 𐍈"]
    alphabet = "ab cde '\n\tsé1漢😀.,-<|>_\u0301\u200d\u00a0Ωж"
    for n in (5, 17, 40, 90, 200):
        for _ in range(6):
            out.append("".join(rng.choice(alphabet) for _ in range(n)))
    for _ in range(40):  # anything that Unicode 14 (this Python's and PCRE2's) and all later versions know
        points = (rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x250, 0xD800), rng.randrange(0xE000, 0x20000)]) for _ in range(60))
        out.append("".join(chr(c) for c in points if unicodedata.category(chr(c)) != "Cn"))
    assert unicodedata.unidata_version == "14.0.0"
    return out


def byte_level_trainer(size, special):
    return trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)


def neox():
    """GPT-NeoX-like: NFC, ByteLevel, added words of white space and with every flag."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    t.train_from_iterator(corpus(), byte_level_trainer(900, ["<|endoftext|>", "<|padding|>"]))
    t.add_tokens([AddedToken(" " * n, normalized=True) for n in (8, 4, 2)])
    t.add_tokens([AddedToken("[MASK]", lstrip=True, rstrip=False), AddedToken("word", single_word=True), AddedToken("é", normalized=True)])
    t.add_special_tokens([AddedToken("<|im_start|>", rstrip=True), "<|im_end|>"])
    return t


def gpt2():
    """GPT-2-like with a prefix space, and BERT-like special tokens around (as RoBERTa)."""
    t = Tokenizer(models.BPE(unk_token=None))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), byte_level_trainer(700, ["<s>", "</s>", "<unk>"]))
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return t


def smollm_like():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), byte_level_trainer(800, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]))
    return t


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), byte_level_trainer(1000, []))
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    # a token that no merge makes: only ignore_merges finds it
    j = json.loads(t.to_str())
    j["model"]["merges"] = [m for m in j["model"]["merges"] if "".join(m) not in ("Ġthe", "the", "Hello")]
    have = {a + b for a, b in map(tuple, j["model"]["merges"])}
    j["model"]["merges"] = [m for m in j["model"]["merges"] if all(len(p) == 1 or p in have for p in m)]
    return Tokenizer.from_str(json.dumps(j))


def llama2(metaspace):
    """Llama-2-like: byte fallback, once with normalizers, once with Metaspace."""
    special = ["<unk>", "<s>", "</s>"]
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if metaspace else "always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=120, show_progress=False)
    t.train_from_iterator(corpus(), trainer)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    if metaspace:
        t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    else:
        t.pre_tokenizer = None
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    j = json.loads(t.to_str())
    j["added_tokens"] = [a for a in j["added_tokens"] if a["content"] in special]
    if not metaspace:
        for a in j["added_tokens"]:
            a["normalized"] = a["content"] == "</s>"
    return Tokenizer.from_str(json.dumps(j))


def clip_like():
    """CLIP-like: suffix, lower case, white space folded by a regular expression, unknown characters."""
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", fuse_unk=False))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), end_of_word_suffix="</w>", show_progress=False)
    t.train_from_iterator(corpus(), trainer)
    return t


def oddities():
    """Every other component at once: few would combine them so."""
    t = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True, continuing_subword_prefix="##"))
    t.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFKD(), normalizers.Replace("ab", "BA")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_next"),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex(r"[cd]\w{2,3}+|\h{3}"), "merged_with_previous"),
        pre_tokenizers.Split("e", "contiguous"), pre_tokenizers.Whitespace()])
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["[UNK]"], limit_alphabet=90, continuing_subword_prefix="##", show_progress=False)
    t.train_from_iterator(corpus(), trainer)
    t.add_tokens([AddedToken("NORM", normalized=True, lstrip=True, rstrip=True)])
    t.decoder = decoders.Sequence([decoders.Replace(Regex("^##"), ""), decoders.Strip("e", 1, 0)])
    return t


def smollm2(path):
    import gguf
    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    assert (get("model"), get("pre")) == ("gpt2", "smollm")
    tokens, types = get("tokens"), get("token_type")
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, [tuple(m.split(" ")) for m in get("merges")]))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([s for s, kind in zip(tokens, types) if kind == 3])
    return t


def from_scores():
    """A SentencePiece vocabulary as a GGUF has it, and the tokenizer whose merges the scores stand for, by the
    rule of transformers' converter: falling (score, length of left, length of right), stable."""
    base = llama2(False)
    vocab = base.get_vocab()
    tokens = sorted(vocab, key=vocab.get)
    rng = random.Random(3)
    types = [2] + [3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    scores = [0.0] * 259 + [-float(rng.randrange(200)) for _ in tokens[259:]]
    merges = []
    for token, score in zip(tokens, scores):
        cuts = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in vocab and token[i:] in vocab]
        merges += [(l, r, score) for l, r in sorted(cuts, key=lambda c: (vocab[c[0]], vocab[c[1]]))]
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    j = json.loads(base.to_str())
    j["model"]["merges"] = [[l, r] for l, r, _ in merges]
    for a in j["added_tokens"]:
        a["normalized"] = False
    return Tokenizer.from_str(json.dumps(j)), {"model": "llama", "tokens": tokens, "scores": scores, "token_type": types}


def golden(t, items):
    rows = []
    for text in items:
        plain, special = t.encode(text, add_special_tokens=False).ids, t.encode(text, add_special_tokens=True).ids
        row = {"text": text, "ids": plain, "decoded": t.decode(plain, skip_special_tokens=False)}
        if special != plain:
            row["special"] = special
        skipped = t.decode(plain, skip_special_tokens=True)
        if skipped != row["decoded"]:
            row["skipped"] = skipped
        rows.append(row)
    rng = random.Random(5)
    for n in (1, 2, 5, 20, 60):  # ids in no order: decoding must cope
        for _ in range(4):
            ids = [rng.randrange(t.get_vocab_size()) for _ in range(n)]
            rows.append({"ids": ids, "decoded": t.decode(ids, skip_special_tokens=False), "skipped": t.decode(ids, skip_special_tokens=True)})
    return {"vocab_size": t.get_vocab_size(), "rows": rows}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    items = texts()
    spm, spm_gguf = from_scores()
    write(OUT / "sentencepiece_gguf.json", spm_gguf)
    made = {"neox": neox(), "gpt2": gpt2(), "smollm_like": smollm_like(), "llama3": llama3(), "llama2": llama2(False),
            "llama2_metaspace": llama2(True), "clip_like": clip_like(), "oddities": oddities(), "sentencepiece": spm}
    for name, t in made.items():
        write(OUT / "tokenizers" / f"{name}.json", json.loads(t.to_str()))
        write(OUT / "goldens" / f"{name}.json", golden(t, items))
    if len(sys.argv) > 1:
        write(OUT / "goldens" / "smollm2.json", golden(smollm2(sys.argv[1]), items))


main()
