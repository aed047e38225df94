"""Labels for sounds from a model that is asked: prompts in files, both orders of the labels, answers summed."""

from auricle.api.labelling.asking import asked_labels, own_labels
from auricle.api.labelling.forms import NEGATIONS, Orders, check_labels, default_prompt, forms_of, template_and_orders
from auricle.api.labelling.template import LETTERS, Template, read_template, shipped

__all__ = [
    "LETTERS",
    "NEGATIONS",
    "Orders",
    "Template",
    "asked_labels",
    "check_labels",
    "default_prompt",
    "forms_of",
    "own_labels",
    "read_template",
    "shipped",
    "template_and_orders",
]
