"""Write a folder with the model, all or nothing."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, record: dict, folder: Path
) -> None:
    """Write a folder with the model, replacing an older one only once all is written.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        record: How it was trained; becomes `training.json`.
        folder: Where to.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    old = fresh.with_name(f"{fresh.name}-old")
    try:
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        (fresh / "training.json").write_text(json.dumps(record, indent=2) + "\n")
        fresh.chmod(0o755)
        for file in fresh.iterdir():
            file.chmod(0o644)
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
