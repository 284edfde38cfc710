"""Six ways in which editors, people and Kubernetes change a file."""
import os
import random
import time
from pathlib import Path


class Edits:
    """Every kind gets the text to end with, and leaves the file saying it."""

    def __init__(self, path):
        self.path = Path(path)
        self.kinds = {
            "in-place write": self.in_place,
            "partial write, then the rest": self.in_two_parts,
            "rename over": self.rename_over,
            "symlink swap": self.symlink_swap,
            "removed and restored": self.removed_and_restored,
            "touch": self.touch,
        }
        self._versions = 0

    def in_place(self, text):
        self.path.write_text(text)

    def in_two_parts(self, text):
        """The pause is at times shorter and at times longer than the time a file must be still."""
        middle = random.randrange(1, len(text))
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text[:middle])
            file.flush()
            time.sleep(random.uniform(0.02, 0.6))
            file.write(text[middle:])

    def rename_over(self, text):
        aside = self.path.with_suffix(".new")
        aside.write_text(text)
        aside.rename(self.path)

    def symlink_swap(self, text):
        """As Kubernetes updates a ConfigMap: FILE -> ..data/FILE, ..data -> a new folder, by renaming a link over a link."""
        folder, data = self.path.parent, self.path.parent / "..data"
        old = data.resolve() if data.is_symlink() else None
        self._versions += 1
        new = folder / f"..v{self._versions}"
        new.mkdir()
        (new / self.path.name).write_text(text)
        link = folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(data)
        if not self.path.is_symlink():
            aside = folder / "link.new"
            aside.symlink_to(f"..data/{self.path.name}")
            aside.rename(self.path)
        if old:
            (old / self.path.name).unlink()
            old.rmdir()

    def removed_and_restored(self, text):
        self.path.unlink()
        time.sleep(random.uniform(0.02, 0.6))
        self.path.write_text(text)

    def touch(self, _text):
        os.utime(self.path)
