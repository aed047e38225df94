"""Any other audio model that the transformers library knows, behind the same protocol as the native ones.

backend.py      from a model's name to one of the following
kinds.py        what a config is: a model that is asked, one that transcribes, one that has labels
loading.py      its folder in memory: the model, and the processor that turns sound and text into its inputs
asked.py        audio-text-to-text models: Voxtral, Audio Flamingo 3, Qwen2-Audio, ...; prompts.py, scoring.py
speech.py       models that write down what is said: Whisper and other speech-seq2seq models, and CTC
labels.py       audio-classification heads
generation.py   one answer of `generate`, as a stream that can be given up
base.py         what they share, and what they can't do
"""
