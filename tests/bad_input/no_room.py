#!/usr/bin/env python3
"""Disks that fill, and death in the middle of writing."""
import os
import random
import resource
import signal
import subprocess
import unittest

from case import ARCH, HANG, Case, main


class NoRoom(Case):
    def test_file_size_limit(self):
        """The disk fills in the middle of writing: as good as ENOSPC, and needs no rights."""
        for limit in (0, 4096, 50_000):
            self.refused(5, ("build", ARCH / "llama_gqa", "-o", self.out / "e.lathe", "-t", 1), "e.lathe",
                         file_limit=limit)
            self.refused(5, ("export", ARCH / "llama_gqa", self.out / "onnx"), "model.onnx", file_limit=limit)
            self.refused(5, ("export", ARCH / "llama_gqa", self.out / "m.onnx"), "m.onnx", file_limit=limit)
        # The old one stays.
        engine = self.out / "e.lathe"
        self.good("build", ARCH / "llama_gqa", "-o", engine, "-t", 1, "--no-verify")
        before = engine.read_bytes()
        self.refused(5, ("build", ARCH / "llama_gqa", "-o", engine, "-t", 1), engine, file_limit=50_000)
        self.assertEqual(engine.read_bytes(), before)

    @unittest.skipUnless(os.geteuid() == 0, "only root may mount a small disk")
    def test_small_disk(self):
        for options, code_says in (("size=64k", "bytes"), ("size=8m,nr_inodes=1", "create")):
            disk = self.temp / "disk"
            disk.mkdir(exist_ok=True)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "lathe", disk], capture_output=True).returncode:
                self.skipTest("mount is not allowed here")
            try:
                for args in (("build", ARCH / "llama_gqa", "-o", disk / "e.lathe", "-t", 1),
                             ("export", ARCH / "llama_gqa", disk / "onnx"),
                             ("export", ARCH / "llama_gqa", disk / "m.onnx")):
                    self.refused(5, args, disk, code_says)
                    self.assertEqual(os.listdir(disk), [])
            finally:
                subprocess.run(["umount", disk], check=True)


class Killed(Case):
    def test_killed_while_building(self):
        """Death at any time leaves the old engine or the new one, whole; the next build does not mind. The time is
        that of the processor, so that a busy machine kills at the same places."""
        engine = self.out / "e.lathe"
        new = ("build", ARCH / "llama_one_kv_head", "-o", engine, "-t", 1)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.good(*new)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        complete = engine.read_bytes()
        self.good("build", ARCH / "llama_gqa", "-o", engine, "-t", 1)
        old = engine.read_bytes()
        chance = random.Random(20)
        shares = [share / 10 for share in range(1, 10)] + [chance.random() for _ in range(4)]
        killed = 0
        for share in shares:
            # The timer outlives exec, and nobody handles its signal.
            process = subprocess.Popen([self.built, *map(str, new)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       preexec_fn=lambda: signal.setitimer(signal.ITIMER_PROF, share * used))
            killed += process.wait(HANG) == -signal.SIGPROF
            self.assertIn(engine.read_bytes(), (old, complete), f"killed after {share:.2f} of {used:.3f} s")
            others = {name for name in os.listdir(self.out) if name != engine.name}
            self.assertTrue(all(name.endswith(".part") for name in others), others)
        self.assertGreater(killed, 0, "nothing was killed")
        self.good("verify", engine, "-t", 1)
        self.good(*new)
        self.assertEqual(engine.read_bytes(), complete)
        self.assertEqual(os.listdir(self.out), [engine.name], "the dead processes' temporary files are still there")
        self.good("verify", engine, "-t", 1)


if __name__ == "__main__":
    main()
