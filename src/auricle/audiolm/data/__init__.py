"""Sound as codes on the disk, and from there to batches: tokenised, listed, split into prompt and target, gathered.

sounds.py, cuts.py, encoding.py, shards.py, tokenize.py    from sounds to a folder of codes
storage.py, manifests.py                                   from such a folder to items, whoever wrote it
splits.py, batches.py, loader.py                           from items to what a model is trained on
"""
