"""Presets: the published settings of the experiments, one TOML file each.

The files hold the published numbers as they are. `Preset.experiment` converts them to this
library's conventions, which is the only place where that is done.

Deep feedback control (Meulemans et al. 2021; `mnist`, `fashion-mnist`, `mnist-autoencoder`,
`mnist-train`, `toy`):

- Learning rates are published times the target stepsize: lr = lr_lambda / target_stepsize.
- The published loss is a mean over the batch and, for the squared error, over the outputs; here it
  is summed over the outputs of a sample. The published target therefore moves by lambda / B times
  the gradient of a sample's loss (cross-entropy) or by lambda / (B n_L) times it (squared error),
  and that is the target stepsize here, whatever batch size the user then chooses.
- The published updates of deep feedback control carry a factor of 2. Gradients here are half as
  large, so a learning rate of SGD doubles, while Adam's eps and the limit of clipping halve.
- Published gradients of `bp` are those of the mean loss: 1 / n_L times ours for the squared error.
  Those of `dfa` are differences between targets and activities: 2 lambda / B or 2 lambda / (B n_L)
  times ours. Learning rate or eps and limit follow in the same way. `bp` is not clipped.
- The decay beta of the feedback weights is that of their optimiser, which adds it after clipping;
  the sleep phase's own is 0.

What is not reproduced:

- The published code sets the updates of samples to 0 whose loop has not converged (on Fashion-MNIST
  about half of a batch); here all samples learn.
- Where it freezes Q_L, it adds noise to the output layer in the sleep phase all the same, except
  for the autoencoder; here there is none, as the paper says.
- `dfc-ss` finds the steady state by Newton's method unless told to simulate; dt and steps are the
  published ones.

Target propagation (Meulemans et al. 2020; `tp-mnist`, `tp-mnist-frozen`, `tp-fashion-mnist`,
`tp-cifar10`, and with `-extra` each with more epochs of feedback learning, of its Table S6):

- Learning rates are published times the target stepsize eta: lr = lr_eta / target_stepsize.
- The published loss is the mean over the batch, so that the target stepsize here is eta / B. The
  local losses are then the published ones, means over the batch with their factor of 2, and so are
  the gradients: Adam's eps stays as it is. The same holds for the reconstruction losses, with the
  published scale of each rule.
- Published gradients of `bp` are ours; those of `dfa` are taken to be 2 eta / B times ours, as in
  the code of deep feedback control, and its eps follows.
- Feedback weights decay by their optimiser, the reconstruction loss has no decay of its own. They
  learn in every minibatch of a forward epoch, in pretraining and in the extra epochs after each
  forward epoch, without clipping.
- In the frozen experiment only the first layer learns.

What is not reproduced:

- The published `ddtp-linear` and `dfa` lack the bias of the last hidden layer.
- The published configuration of `ddtp-control` on CIFAR-10 names the class of `ddtp-linear`; here
  its numbers belong to `ddtp-control`.
- The published `dfa` on MNIST names a tanh for its feedback; here `dfa` is linear everywhere.
- Some published configurations ran in single precision.
- Pretraining has an optimiser of its own, whose moments the later epochs do not inherit.

Dynamic inversion (Podlaski and Machens 2020; `di-mnist`, with feedback at random
`di-mnist-random`):

- Updates are online, one sample each. The paper doesn't print which leaks it shows; here they are
  two of its figure 3: 0.001 from the transposed weights, 0.01 at random.

The same paper's autoencoder (`di-autoencoder`, from orthogonal weights
`di-autoencoder-orthogonal`):

- The published update sums over the 100 samples of a mini-batch, with half of the squared error for
  a loss; here it is their mean, with all of it: the learning rate 1e-6 becomes 5e-5. Weights lose
  1e-10 of themselves a step, whatever the rate. Spreads are those of the published code.

Feedback alignment (Lillicrap et al. 2016; `fa-mnist` and those that begin with it, note 5;
`fa-svhn`, `fa-timit`, notes 6 and 7; `fa-autoencoder-narrow`, `fa-autoencoder-wide`, note 9):

- The loss of the text is taken for half of the squared error of a sample, here it is all of it:
  half of a printed learning rate. It falls to a tenth after epochs 40 and 50 of 60, as the text
  says only that it does so once progress has slowed down. Batches have 100 samples (note 2).
- Feedback matrices are Glorot uniform, which sends errors of about the same size to all layers of
  one width; the text scales them by trial and error.
- Of notes 6, 7 and 9 no learning rate and no length is printed: those of note 5.
- Dropout silences neurons of all hidden layers; the text has it in a single one of three.
- Neither patches of the image as receptive fields nor distorted images.

Target propagation on the networks of deep feedback control (table S1 of Meulemans et al. 2021;
`tp-mnist-3x256`, `tp-fashion-mnist-3x256`, `tp-mnist-autoencoder`): no settings are published, so
these are those of Meulemans et al. 2020 on other sizes.

In all of them, published test figures are means over mini-batches, the last of which is smaller;
here they are means over samples.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from analogdfc.errors import UserError
from analogdfc.presets._base import Preset
from analogdfc.presets._control import ControlPreset
from analogdfc.presets._own import FAMILY as SETTINGS
from analogdfc.presets._own import OwnPreset
from analogdfc.presets._tables import Tables
from analogdfc.presets._targets import FAMILY, TargetPreset, TargetTables

__all__ = ["ControlPreset", "OwnPreset", "Preset", "TargetPreset", "load_preset", "preset_names"]


def preset_names() -> tuple[str, ...]:
    """Names of all presets."""
    folder = files(__name__)
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


def load_preset(name: str) -> Preset:
    """The preset of that name.

    Args:
        name: one of `preset_names()`, or the path of a TOML file of one's own. Such a file has the
            tables [card] (title, source), [experiment] (preset and rule that it begins from, and
            what is other than there: feedback, dataset, sizes, activation, output_activation, loss,
            autoencoder, standardised, between, samples), [set], the settings by their names, such
            as controller.k_p = 2, and [rules.NAME], those of a rule alone.

    Raises:
        UserError: there is none; the message lists those that exist. Or a file that is no preset.

    Example:
        >>> load_preset("mnist").experiment("dfc-ssa").plan.epochs
        100
    """
    if name.endswith(".toml"):
        return OwnPreset.read(Path(name), load_preset)
    if name not in preset_names():
        raise UserError(
            f"unknown preset {name!r}; there are {', '.join(preset_names())}, and files of your "
            "own whose name ends in .toml"
        )
    text = (files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    if content["card"].get("family") == SETTINGS:
        return OwnPreset.of(name, content, load_preset)
    if content["card"].get("family") == FAMILY:
        return TargetPreset(name, TargetTables.model_validate(content))
    return ControlPreset(name, Tables.model_validate(content))
