"""A loss: a Keras class that can be made without arguments."""

import keras


@keras.saving.register_keras_serializable("nucleiseg_example")
class LogCoshDice(keras.losses.Loss):
    """The logarithm of the hyperbolic cosine of the Dice loss, flat where it is nearly right.

    S. Jadon, "A survey of loss functions for semantic segmentation", IEEE CIBCB 2020.
    """

    def __init__(self, name="log_cosh_dice", **keras_options):
        super().__init__(name=name, **keras_options)
        self._dice = keras.losses.Dice()

    def call(self, y_true, y_pred):
        """The loss, a scalar."""
        return keras.ops.log(keras.ops.cosh(self._dice(y_true, y_pred)))
