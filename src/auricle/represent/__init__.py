"""Vectors of whole folders and manifests: planned, written shard by shard, resumed, read back, looked at.

items = gather(["sounds/"])
represent(auricle.load("tiny"), items, "vectors/", Extraction(pooling="mean"))
found = open_embeddings("vectors/")
print(found.index.column("path"), found.vectors().shape)
"""

from auricle.represent.inputs import Items, gather
from auricle.represent.plan import Settings
from auricle.represent.run import Outcome, represent
from auricle.represent.shards import Embeddings, open_embeddings

__all__ = ["Embeddings", "Items", "Outcome", "Settings", "gather", "open_embeddings", "represent"]
