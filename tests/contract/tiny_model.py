"""A model folder that every verb can use: tests/arch/llama_gqa with a tokenizer of single characters and a chat
template. Standard library only."""
import json
import pathlib
import shutil
import string

ARCH = pathlib.Path(__file__).resolve().parent.parent / "arch"
VOCABULARY = 67
CHARACTERS = string.ascii_letters + " .?!<>/:'\n"
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


def make(folder, generation=None, config=None, card=None):
    """`generation`: generation_config.json; `config`: changes of config.json; `card`: README.md."""
    folder = pathlib.Path(folder)
    shutil.copytree(ARCH / "llama_gqa", folder)
    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {token: i for i, token in enumerate(special + list(CHARACTERS))}
    assert len(vocabulary) <= VOCABULARY
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, token in enumerate(special)],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
                  "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    changed = json.loads((folder / "config.json").read_text())
    changed.update(config or {})
    (folder / "config.json").write_text(json.dumps(changed))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder
