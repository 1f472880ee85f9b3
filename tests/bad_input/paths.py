#!/usr/bin/env python3
"""What is not there, is no file, may not be read, or lacks a part."""
import json
import os

from case import ARCH, Case, main
from checkpoints import shard


class Paths(Case):
    def test_nothing_there(self):
        self.refused_by_all(3, self.temp / "nowhere", "nowhere")
        empty = self.temp / "empty"
        empty.mkdir()
        self.refused_by_all(3, empty, empty, "config.json")
        text = self.temp / "notes.txt"
        for content in ("", "hello"):
            text.write_text(content)
            self.refused_by_all(3, text, text)

    def test_not_a_file(self):
        """Works as root too, whom permissions do not stop."""
        for name in ("config.json", "model.safetensors"):
            model = self.folder()
            (model / name).unlink()
            (model / name).mkdir()
            self.refused_by_two(3, model, name)
        pipe = self.temp / "pipe.gguf"
        os.mkfifo(pipe)
        self.refused_by_all(3, pipe, "pipe.gguf")
        pipe = self.folder() / "model.safetensors"
        pipe.unlink()
        os.mkfifo(pipe)
        # A pipe whose other end nobody opens would wait for ever.
        with open(os.open(pipe, os.O_RDWR), "rb"):
            self.refused_by_all(3, pipe.parent, "model.safetensors")

    def test_pipes_and_devices(self):
        """Nobody writes to these pipes: whoever opens one the ordinary way waits for ever."""
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            pipe = self.folder() / name
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
            self.refused_by_all(3, pipe.parent, name, "pipe")
        self.refused_by_two(3, "/dev/zero", "character device")
        device = self.folder() / "config.json"
        device.unlink()
        device.symlink_to("/dev/zero")
        self.refused_by_two(3, device.parent, "config.json", "character device")

    def test_other_kinds_of_files(self):
        """Well formed, but not something that this verb takes."""
        model = ARCH / "llama_gqa"
        self.refused(4, ("run", model / "model.safetensors", "--tokens", 1), "safetensors", "config.json")
        self.refused(4, ("export", self.engine().path, self.out / "x"), "engine")

    def test_permission(self):
        for name in ("config.json", "model.safetensors"):
            model = self.folder()
            self.let_nobody_in()
            (model / name).chmod(0)
            for args in self.verbs(model):
                self.refused(3, args, name, nobody=True)
        # A folder that may not be searched hides what is in it.
        model = self.folder()
        self.let_nobody_in()
        model.chmod(0)
        for args in self.verbs(model):
            self.refused(3, args, model, nobody=True)
        model.chmod(0o755)
        self.out.chmod(0o555)
        self.refused(3, ("build", model, "-o", self.out / "e.lathe"), self.out, nobody=True)
        self.refused(3, ("build", model, "-o", self.temp / "e", "--dump", self.out / "dump"), self.out, nobody=True)
        self.out.chmod(0o755)
        self.cache.chmod(0o555)
        self.refused(3, ("run", model, "--tokens", "1,2", "-n", 1), self.cache, nobody=True)

    def test_no_place_for_the_cache(self):
        """Works as root too: a file where a folder should be."""
        file = self.temp / "file"
        file.write_text("")
        self.refused(3, ("run", ARCH / "llama_gqa", "--tokens", "1,2", "-n", 1), file, cache=file / "below")
        self.refused(3, ("verify", ARCH / "llama_gqa"), file, cache=file)
        self.refused(3, ("build", ARCH / "llama_gqa", "-o", self.out / "e", "--dump", file / "dump"), file)

    def test_missing_parts(self):
        model = self.folder()
        (model / "model.safetensors").unlink()
        self.refused_by_all(3, model, "model.safetensors")
        model = self.folder()
        lost = shard(model)[1]
        self.good("inspect", model)
        (model / lost).rename(model / "elsewhere")
        self.refused_by_all(3, model, lost)

    def test_shard_index(self):
        def change(edit, *said):
            model = self.folder()
            files = shard(model)
            path = model / "model.safetensors.index.json"
            index = json.loads(path.read_text())
            changed = edit(index, files)  # None where it changed the index itself
            path.write_text(json.dumps(index if changed is None else changed))
            self.refused_by_two(3, model, "model.safetensors.index.json", *said)

        lm_head = "lm_head.weight"
        change(lambda index, files: index["weight_map"].update({lm_head: files[1]}), lm_head, "00002-of")
        change(lambda index, files: index["weight_map"].update({"ghost.weight": files[0]}), "ghost.weight")
        change(lambda index, files: index["weight_map"].update({lm_head: "../" + files[0]}), "../")
        change(lambda index, files: index["weight_map"].update({lm_head: 7}), lm_head)
        change(lambda index, files: {"weight_map": []}, "weight_map")
        change(lambda index, files: [1, 2])
        change(lambda index, files: {}, "weight_map")


if __name__ == "__main__":
    main()
