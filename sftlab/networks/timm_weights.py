"""timm's own weights: which file they are, where it lies, and how it gets here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sftlab.data.remote import RemoteFile, Unreachable, data_dir
from sftlab.networks.meta import bring, not_here

FILES = ("model.safetensors", "pytorch_model.bin")
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")
SECONDS_TO_ANSWER = 10


def fetch(name: str) -> Path:
    """Return the path of timm's own weights, downloaded once. Raises FileNotFoundError offline."""
    if (path := here(name)) is not None:
        return path
    try:
        file = remote(name)
    except Unreachable as error:
        config = _published(name)
        repo = config.hf_hub_id.partition("@")[0]
        what = f"{_names(config)[0]} of {repo} into {data_dir() / 'weights' / repo}"
        raise not_here(name, _item(config), what, error) from None
    size = f" ({file.megabytes:.0f} MB)" if file.megabytes else ""
    return bring(name, file, f"timm's {file.item}, {file.name}{size},")


def remote(name: str) -> RemoteFile:
    """Return the file of timm's own weights: where it comes from, its hash, and where it goes.

    The Hugging Face hub knows the hash, so this asks it: the hub's own client resumes nothing once its process has
    ended, and its cache is made of links, which a copy to another disk loses. Weights that are not on the hub have the
    hash in their name. Raises ValueError if there are none, Unreachable without a network.
    """
    config = _published(name)
    licence = config.license or "none stated"
    if not config.hf_hub_id:
        file = config.url.rpartition("/")[2]
        in_name = HASH_IN_NAME.search(file)
        return RemoteFile(
            _item(config), f"weights/timm/{file}", (config.url,), f"sha256:{in_name[1]}" if in_name else "", licence
        )
    file, url, digest, size = _asked(config)
    place = f"weights/{config.hf_hub_id.partition('@')[0]}/{file}"
    return RemoteFile(_item(config), place, (url,), digest, licence, megabytes=size / 1e6 if size else None)


def here(name: str) -> Path | None:
    """Return where timm's own weights lie on this machine, ours or the Hugging Face cache's; None if nowhere."""
    from huggingface_hub import try_to_load_from_cache

    config = _published(name)
    ours = data_dir() / "weights"
    if not config.hf_hub_id:
        paths = [ours / "timm" / config.url.rpartition("/")[2]]
    else:
        repo, _, revision = config.hf_hub_id.partition("@")
        cached = [try_to_load_from_cache(repo, file, revision=revision or None) for file in _names(config)]
        # the cache's answer may also be None, or a mark that the hub has no such file
        paths = [*(ours / repo / file for file in _names(config)), *(Path(c) for c in cached if isinstance(c, str))]
    return next((path for path in paths if path.is_file()), None)


def _published(name: str) -> Any:
    """Return what timm publishes of a network's weights. Raises ValueError if it has none."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise ValueError(f"timm has no weights for {name}; pass weights=PATH, or weights=None for a random start")
    return config


def item(name: str) -> str:
    """Return a network's name with the tag of its weights, as timm writes it: resnet10t.c3_in1k."""
    return _item(_published(name))


def _item(config: Any) -> str:
    return ".".join(filter(None, (config.architecture, config.tag)))


def _names(config: Any) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else FILES


def _asked(config: Any) -> tuple[str, str, str, int | None]:
    """Ask the hub for the weights: (file name, address, digest, bytes). Raises Unreachable."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo, _, revision = config.hf_hub_id.partition("@")
    for file in _names(config):
        try:
            facts = get_hf_file_metadata(hf_hub_url(repo, file, revision=revision or None), timeout=SECONDS_TO_ANSWER)
        except Exception as error:  # each version of the hub's client raises others
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            raise Unreachable(f"the Hugging Face hub was asked for {repo}: {why}") from None
        url = hf_hub_url(repo, file, revision=facts.commit_hash or revision or None)
        known = facts.etag if facts.etag and re.fullmatch(r"[0-9a-f]{64}", facts.etag) else None
        return file, url, f"sha256:{known}" if known else "", facts.size
    raise Unreachable(f"the hub's {repo} holds none of {', '.join(_names(config))}")
