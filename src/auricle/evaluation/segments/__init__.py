"""From annotated recordings to clips: AVA-Speech, VoxConverse, ESC-50, Audacity's labels, any table with start and end.

spans = read_annotations(["ava_speech_labels_v1.csv"])
segment(spans, Recordings("movies/"), "clips/", Cutting(labels={"NO_SPEECH": "nonspeech", "*": "speech"}, count=40))
"""

from auricle.evaluation.segments.annotations import Span, read_annotations
from auricle.evaluation.segments.recordings import Recordings
from auricle.evaluation.segments.regions import parse_labels
from auricle.evaluation.segments.run import Cut, Cutting, segment

__all__ = ["Cut", "Cutting", "Recordings", "Span", "parse_labels", "read_annotations", "segment"]
