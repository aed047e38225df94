"""What a model hears, measured: from recordings to clips, to answers, to figures with honest intervals.

`statistics` are pure functions on arrays, and know neither files nor models.
"""
