"""Everything before a model: decoding, finding pauses, cutting long sound, writing. No torch in this room."""
