#!/usr/bin/env python3
"""Files of torch.save that are damaged, malicious or made by hand to mislead (tests/io/corpus/torch)."""
import pathlib
import shutil

from case import ARCH, Case, main

CORPUS = ARCH.parent / "io/corpus/torch"


class Pickles(Case):
    def folder_with(self, file):
        model = self.folder()
        (model / "model.safetensors").unlink()
        shutil.copy(file, model / "pytorch_model.bin")
        return model

    def test_corpus(self):
        files = sorted(f for f in CORPUS.iterdir() if f.name.startswith("bad_"))
        self.assertGreater(len(files), 60)
        for i, file in enumerate(files):
            with self.subTest(file.name):
                verbs = self.verbs(self.folder_with(file))
                self.refused((3, 4), verbs[i % len(verbs)], "pytorch_model.bin")

    def test_malicious(self):
        for name, call in (("bad_os_system", "posix.system"), ("bad_eval", "__builtin__.eval")):
            self.refused_by_all(3, self.folder_with(CORPUS / name), call)
            pipeline = self.temp / "pipeline.ckpt"
            shutil.copy(CORPUS / name, pipeline)
            self.refused(3, ("run", pipeline, "-p", "a ring"), call, "pipeline.ckpt")

    def test_truncated_pipeline(self):
        whole = (CORPUS.parent.parent / "torch/sd15.ckpt").read_bytes()
        pipeline = self.temp / "pipeline.ckpt"
        for size in self.places(len(whole), [4, 30, 64, len(whole) - 22, len(whole) - 1]):
            pipeline.write_bytes(whole[:size])
            self.refused((3, 4), ("run", pipeline, "-p", "a ring"))


if __name__ == "__main__":
    main()
