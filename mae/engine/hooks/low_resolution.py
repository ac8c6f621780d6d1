"""The first epochs at low resolution: fewer patches, so cheaper steps."""

from mmengine.hooks import Hook

from mae.registry import HOOKS
from mae.utils.errors import ConfigError
from mae.utils.runner_protocol import RunnerProtocol


@HOOKS.register_module()
class LowResolutionHook(Hook):
    """Trains the first epochs on downscaled images, the rest at full size. Changed maths.

    The size is a function of the epoch, so a run resumes anywhere. Images are loaded at full size
    and downscaled on the device; validation uses the full size. The model needs
    `set_img_size(size)`.

    Args:
        img_size: side in pixels, or (height, width), smaller than `encoder.img_size` and a whole
            number of patches.
        epochs: number of epochs at that size.

    Raises:
        ConfigError: `epochs` is below 1, or the model does not accept that size.
    """

    priority = 'VERY_HIGH'  # before other hooks use the model
    changes_shapes = True

    def __init__(self, img_size: int | tuple[int, int], epochs: int) -> None:
        if epochs < 1:
            raise ConfigError(f'LowResolutionHook.epochs must be at least 1, not {epochs}')
        self.img_size = img_size
        self.epochs = epochs

    def before_train(self, runner: RunnerProtocol) -> None:
        """Set the size once, so that an error shows at the start."""
        model = runner.bare_model
        if not hasattr(model, 'set_img_size'):
            raise ConfigError(f'LowResolutionHook: a {type(model).__name__} has no set_img_size')
        try:
            model.set_img_size(self.img_size)
        except ValueError as error:
            raise ConfigError(f'LowResolutionHook.img_size={self.img_size}: {error}') from None
        finally:
            model.set_img_size(None)
        if self.epochs >= runner.max_epochs:
            runner.logger.warning(
                f'LowResolutionHook.epochs={self.epochs}: the run of {runner.max_epochs} epochs '
                'never sees an image at full size'
            )

    def before_train_epoch(self, runner: RunnerProtocol) -> None:
        """Low resolution in the first epochs."""
        if runner.epoch < self.epochs:
            runner.bare_model.set_img_size(self.img_size)

    def after_train_epoch(self, runner: RunnerProtocol) -> None:
        """Full size, for the evaluation."""
        runner.bare_model.set_img_size(None)
