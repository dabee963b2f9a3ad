"""The settings of a training by their names, such as `controller.k_p`, each in one place.

What a rule's class, its parts (controller, sleep phase, neuron, ...), the optimisers and the plan
have for arguments is what there is to set, with their own names, types and descriptions: nothing
has to be entered here when an argument is added there.
"""

from analogdfc.tuning.settings import Setting, settings_of, with_settings

__all__ = ["Setting", "settings_of", "with_settings"]
